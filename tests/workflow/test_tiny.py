"""All five steps of pretrained LMMs, real but tiny: their own layouts, random weights (config/tiny/)."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from silmm.benchmarks.dpg.benchmark import PROMPTS
from silmm.records import INDEX, PAIRS, SCORES, Prompt, PromptQuestions, read_jsonl, read_table

from .conftest import ROOT, contract_files, run_snakemake

pytestmark = pytest.mark.slow
COLUMNS = (
    "item_id text keywords proposition_id dependency category_broad category_detailed tuple question_natural_language"
)
WITH_TABLE = "emu3"
FAMILIES = ("dreamllm", "emu3", "janus", "seed_llama")


def official_files(folder: Path) -> None:
    """A file in the form of DPG-Bench's, of as many prompts: a7 and b, then others that nobody draws."""
    folder.mkdir(parents=True)
    asked = {"a7": ("a red cat on a big table", ("cat", "red", "table")), "b": ("two dogs", ("dog", "two"))}
    asked |= {f"c{number}": (f"{number} blue cups", ("cup", "blue")) for number in range(PROMPTS - len(asked))}
    with (folder / "dpg_bench.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS.split())
        for item, (prompt, words) in asked.items():
            for number, word in enumerate(words, 1):
                broad = "entity - whole" if number != 2 else "attribute - color"
                tail = (*broad.split(" - "), f"{broad} ({word})", f"Is there a {word}?")
                writer.writerow([item, prompt, word, number, 0 if number == 1 else 1, *tail])


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    """The family, where Snakemake worked, and what it said."""
    folder = tmp_path_factory.mktemp(f"tiny_{request.param}")
    words = ["--cores", "2", "--configfile", f"config/tiny/{request.param}.yaml"]
    if request.param == WITH_TABLE:
        official_files(folder / "benchmarks/dpg_bench")
        words = ["all", "table_1", *words]
    return request.param, folder, run_snakemake(ROOT, folder, *words).stdout


@pytest.mark.xdist_group("tiny")
def test_every_step_leaves_its_files(tiny: tuple[str, Path, str]) -> None:
    family, folder, output = tiny
    results = folder / "results/tiny"
    made = results / family / "seed0/silmm/iter1"
    assert f"results/tiny/{family}/seed0/silmm/iter1/ckpt" in output.partition("silmm: done. Look at")[2]
    prompts = read_jsonl(made / "prompts.jsonl", Prompt)
    assert len({row.prompt for row in prompts}) == len(prompts) >= 3
    index = read_table(made / "images/shard-0/index.parquet", INDEX).to_pylist()
    assert len(index) == 4 * len(prompts)
    asked = {row.prompt_id: row.questions for row in read_jsonl(made / "qa.jsonl", PromptQuestions)}
    scores = read_table(made / "scores.parquet", SCORES)
    assert scores.num_rows == sum(4 * len(asked[row.id]) for row in prompts)
    p_yes = scores["p_yes"].to_numpy()
    assert len(np.unique(p_yes)) > len(prompts)  # samples of one prompt are told apart: the pictures are looked at
    assert read_table(made / "pairs.parquet", PAIRS).num_rows >= 3
    assert (results / "paper/figure_funnel.csv").stat().st_size > 0
    assert not [path for path in folder.rglob("*") if path.name.startswith(".partial-")]


@pytest.mark.xdist_group("tiny")
def test_step_5_starts_at_log_2_and_moves_the_adapter_alone(tiny: tuple[str, Path, str]) -> None:
    from safetensors.numpy import load_file

    family, folder, _ = tiny
    seed = folder / f"results/tiny/{family}/seed0"
    log = [json.loads(line) for line in (seed / "silmm/iter1/ckpt/training.jsonl").read_text().splitlines()]
    assert log[0]["dpo_loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert log[-1]["dpo_loss"] != log[0]["dpo_loss"] and np.isfinite([row["loss"] for row in log]).all()
    before, after = (load_file(seed / f"{name}/ckpt/adapter_model.safetensors") for name in ("base", "silmm/iter1"))
    assert before.keys() == after.keys()
    ends = [(before[name], after[name]) for name in before if "lora_B" in name]
    assert ends and all(not b.any() and a.any() for b, a in ends)
    configs = [json.loads((seed / f"{name}/ckpt/config.json").read_text()) for name in ("base", "silmm/iter1")]
    assert configs[0] == configs[1]


@pytest.mark.xdist_group("tiny")
def test_draw_and_ask_work_with_what_came_out(
    tiny: tuple[str, Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from silmm import cli

    family, folder, _ = tiny
    monkeypatch.chdir(folder)  # relative paths of weights are from there
    ckpt = f"results/tiny/{family}/seed0/silmm/iter1/ckpt"
    assert cli.main(["draw", "A red kettle", "--ckpt", ckpt, "--n", "2", "--best", "--out", "best.png"]) == 0
    assert cli.main(["ask", "best.png", "Is there a kettle?", "--ckpt", ckpt]) == 0
    said = capsys.readouterr().out
    assert "wrote best.png" in said
    assert said.splitlines()[-1].split()[0] in ("yes", "no")


@pytest.mark.xdist_group("tiny")
def test_what_came_out_draws_a_benchmark_to_be_judged(
    tiny: tuple[str, Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from silmm import cli
    from silmm.benchmarks import pictures
    from silmm.benchmarks.interface import Ref
    from silmm.benchmarks.judges import tiny as judges

    family, folder, _ = tiny
    monkeypatch.chdir(folder)
    official_files(folder / "official")
    judges.build("blip", folder / "blip")
    words = ["--ckpt", f"results/tiny/{family}/seed0/silmm/iter1/ckpt", "--data", "official", "--judge", "vqa=blip"]
    assert cli.main(["benchmark", "dpg_bench", *words, "--first", "2", "--out", "judged"]) == 0
    found = pictures.find([folder / "judged.pictures"])
    tiles = [found.pixels(Ref(f"{name}.png", (k, 2, 2))) for name in ("a7", "b") for k in range(4)]
    assert len({tile.tobytes() for tile in tiles}) == 8
    (size,) = {f"{tile.shape[1]}x{tile.shape[0]}" for tile in tiles}
    about = json.loads(Path("judged/run.json").read_text())
    note = about["pictures drawn"]
    assert (about["pictures"], note["lmm"], note["seeds"], note["resolution"]) == (8, family, [0, 1, 2, 3], size)
    assert sorted(p.name for p in folder.glob("judged*")) == ["judged", "judged.pictures"]


@pytest.mark.xdist_group("tiny")
def test_the_paper_s_table_1(tiny: tuple[str, Path, str]) -> None:
    family, folder, _ = tiny
    if family != WITH_TABLE:
        pytest.skip(f"the table is made of {WITH_TABLE} alone: half a minute")
    results = folder / "results/tiny"
    table = pd.read_csv(results / "paper/table_1_pretrained.csv")
    ours = table[table.whose == "ours"]
    for t, policy in enumerate(("base", "silmm/iter1")):
        judged = results / family / f"seed0/{policy}/benchmark/dpg_bench"
        scores = pd.read_csv(judged / "scores.csv").set_index(["variant", "category"]).score
        rows = ours[ours.iteration == t].set_index(["variant", "category"]).score
        assert rows.to_dict() == {key: scores[key] for key in rows.index} and len(rows) >= 6
        about = json.loads((judged / "run.json").read_text())
        assert about["pictures"] == 8 and about["pictures drawn"]["guidance"] == 3.0
    assert ours.judge.str.startswith("vqa: blip-vqa blip sha256:").all()
    assert set(ours.standing) == {"another judge, first 2 prompts of each category"}
    text = (results / "paper/table_1_pretrained.tex").read_text()
    assert "first 2 prompts of each category. *: not for comparing with the paper's." in text
    assert "Emu3 (paper): base & 44.79" in text


@pytest.mark.drill
def test_the_same_bytes_again_on_one_core(tiny: tuple[str, Path, str], tmp_path: Path) -> None:
    family, folder, _ = tiny
    words = ["--cores", "1", "--configfile", f"config/tiny/{family}.yaml"]
    if family == WITH_TABLE:
        official_files(tmp_path / "benchmarks/dpg_bench")
        words = ["all", "table_1", *words]
    run_snakemake(ROOT, tmp_path, *words)
    first, second = (contract_files(where / "results/tiny") for where in (folder, tmp_path))
    assert len(second) > 30
    assert {name for name in first if first[name] != second.get(name)} <= {
        "paper/figure_funnel.pdf",
        "paper/table_1_pretrained.pdf",
    }
