"""All five steps of pretrained LMMs, real but tiny: their own layouts, random weights (config/tiny/)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from silmm.records import INDEX, PAIRS, SCORES, Prompt, PromptQuestions, read_jsonl, read_table

from .conftest import ROOT, contract_files, run_snakemake

pytestmark = pytest.mark.slow
FAMILIES = ("dreamllm", "emu3", "janus", "seed_llama")


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    """The family, where Snakemake worked, and what it said."""
    folder = tmp_path_factory.mktemp(f"tiny_{request.param}")
    words = ("--cores", "2", "--configfile", f"config/tiny/{request.param}.yaml")
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
def test_the_same_bytes_again_on_one_core(tiny: tuple[str, Path, str], tmp_path: Path) -> None:
    family, folder, _ = tiny
    run_snakemake(ROOT, tmp_path, "--cores", "1", "--configfile", f"config/tiny/{family}.yaml")
    first, second = (contract_files(where / "results/tiny") for where in (folder, tmp_path))
    assert len(second) > 30
    assert {name for name in first if first[name] != second.get(name)} <= {"paper/figure_funnel.pdf"}
