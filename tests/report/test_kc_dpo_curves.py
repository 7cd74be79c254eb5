"""The curves of KC-DPO: the numbers are the training's, the same bytes twice, and refusals that name the file."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from silmm import cli
from silmm.arms import plan
from silmm.errors import InputError, RecordError
from silmm.records import AlignStats, write_json
from silmm.report import kc_dpo_curves
from silmm.report.entries import Step
from silmm.report.summarize import SUMMARY

GAMMA = 12.0
SCRIPT = Path(__file__).parents[2] / "paper_figures" / "kc_dpo_ill.py"


def aligned(folder: Path, arm: str, iteration: int, steps: int = 12, role: str = "control") -> Step:
    """A checkpoint's two files of metrics, as `silmm align` writes them."""
    out = folder / arm / f"iter{iteration}" / "ckpt"
    out.mkdir(parents=True)
    rows = [
        {"step": step, "loss": 0.7, "drift": 0.001 * step, "rewards/chosen": -0.1 * step * GAMMA, "rewards/rejected":
         -0.2 * step * GAMMA, "rewards/margins": 0.1 * step * GAMMA, "rewards/accuracies": 0.75,
         "rewards/saturated": 0.0}
        for step in range(steps)
    ]  # fmt: skip
    (out / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(out / "align.stats.json", AlignStats(100, GAMMA, 0.25, 0.1, 0.2, 0.4, 3.0))
    return Step("continuous", arm, 0, iteration, out, role)


@pytest.fixture
def runs(tmp_path: Path) -> list[Step]:
    return [aligned(tmp_path, "silmm", t, role="main") for t in (1, 2)] + [aligned(tmp_path, "sft", 1, 8)]


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    """Of a base and three policies; drawing is judged with two samplers, and features are measured in two ways."""
    rows = []
    for number, (arm, iteration) in enumerate([("base", 0), ("silmm", 1), ("silmm", 2), ("sft", 1)]):
        for metric, sampler, value in (
            ("oracle_prompt", "fresh_noise", 0.5), ("oracle_prompt", "constant_noise", 0.4),
            ("malformed", "fresh_noise", 0.01), ("malformed", "constant_noise", 0.9),
            ("feature_range", "no_dropout", 1.0 + number), ("feature_range", "step2", 6.0),
        ):  # fmt: skip
            if arm != "base" or sampler != "step2":
                rows.append(("continuous", arm, 0, iteration, sampler, "core", metric, value, "", "", 8))
    path = tmp_path / "summary.csv"
    pd.DataFrame(rows, columns=list(SUMMARY)).to_csv(path, index=False)
    return path


def test_the_numbers_are_the_training_s(runs: list[Step], summary: Path, tmp_path: Path) -> None:
    kc_dpo_curves.run(runs, summary, tmp_path / "a" / "curves.png")
    drawn = pd.read_csv(tmp_path / "a" / "curves.csv")
    step = drawn[(drawn.arm == "silmm") & (drawn.iteration == 2) & (drawn.step == 5)].set_index("panel").value
    assert step["to_chosen"] == pytest.approx(0.5) and step["to_rejected"] == pytest.approx(1.0)  # away from both
    assert step["argument"] == pytest.approx(0.5 * GAMMA) and step["drift"] == pytest.approx(0.005)
    first = drawn[(drawn.arm == "sft") & (drawn.step == 0)].set_index("panel").value
    assert first["to_chosen"] == 0 and pd.isna(first["accuracy"])  # nothing has moved: no pair is in any order
    spread = drawn[(drawn.panel == "spread") & (drawn.arm == "sft")].iloc[0]
    assert [spread.low, spread.value, spread.high] == pytest.approx([0.1 * GAMMA, 0.2 * GAMMA, 0.4 * GAMMA])


def test_policies_start_at_the_base_and_one_sampler_judges(runs: list[Step], summary: Path, tmp_path: Path) -> None:
    kc_dpo_curves.run(runs, summary, tmp_path / "curves")
    drawn = pd.read_csv(tmp_path / "curves.csv")
    features = drawn[(drawn.panel == "feature_range") & (drawn.sampler == "no_dropout")]
    assert features[features.arm == "silmm"].sort_values("iteration").value.tolist() == [1, 2, 3]
    assert features[features.arm == "sft"].sort_values("iteration").value.tolist() == [1, 4]
    assert set(drawn[drawn.panel == "feature_range"].sampler) == {"no_dropout", "step2"}
    assert set(drawn[drawn.panel == "malformed"].value) == {0.01}  # with fresh noise


def test_the_same_bytes_twice_and_by_the_command(runs: list[Step], summary: Path, tmp_path: Path) -> None:
    words = ["kc-dpo-curves", "--summary", str(summary), "--out", str(tmp_path / "a/curves.png")]
    for one in runs:
        role = ",role=main" if one.role == "main" else ""
        words += ["--aligned", f"lmm=continuous,arm={one.arm},seed=0,iteration={one.iteration}{role},dir={one.dir}"]
    assert cli.main(words) == 0
    kc_dpo_curves.run(runs, summary, tmp_path / "b" / "curves")
    made = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert made == ["curves.csv", "curves.pdf", "curves.png"]
    for name in made:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_without_a_summary_there_is_nothing_of_the_policies(runs: list[Step], tmp_path: Path) -> None:
    kc_dpo_curves.run(runs, None, tmp_path / "curves")
    drawn = pd.read_csv(tmp_path / "curves.csv")
    assert set(drawn.panel) == {*kc_dpo_curves.STEPS, "spread"}


def test_the_ill_ones_stand_beside_the_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(SCRIPT))
    numbers, rows = script["NUMBERS"].values(), []
    for n, arm in enumerate(("base", *script["RUNS"])):
        if arm != "base":
            aligned(tmp_path / "continuous/seed0", arm, 1, steps=n + 3)
        rows += [
            ("continuous", arm, 0, 1, sampler, "core", metric, n / 10, "", "", 8) for metric, sampler, _ in numbers
        ]
    pd.DataFrame(rows, columns=list(SUMMARY)).to_csv(tmp_path / "summary.csv", index=False)
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "--results", str(tmp_path), "--out", str(tmp_path / "ill")])
    script["main"]()
    drawn = pd.read_csv(tmp_path / "ill.csv")
    last = drawn[(drawn.arm == "sft_none") & (drawn.step == drawn[drawn.arm == "sft_none"].step.max())].iloc[0]
    assert last["whole, fresh noise"] == pytest.approx(len(script["RUNS"]) / 10)
    assert last.gamma == GAMMA and last.to_rejected == pytest.approx(2 * last.to_chosen) and last.to_chosen > 0
    assert drawn[drawn.arm == "base"].step.isna().all() and (tmp_path / "ill.png").stat().st_size > 0
    summary = pd.read_csv(tmp_path / "summary.csv").query("arm != 'lr_3e4'")
    summary.to_csv(tmp_path / "summary.csv", index=False)
    with pytest.raises(InputError, match="no oracle_prompt of lr_3e4 with fresh_noise"):
        script["main"]()


def test_the_ill_ones_are_the_config_s() -> None:
    folder = SCRIPT.parents[1] / "config"
    config, own = (yaml.safe_load((folder / f"{name}.yaml").read_text()) for name in ("default", "kc_dpo_ill"))
    update_config(config, own)
    arms = plan({key: value for key, value in config.items() if key != "pathvars"}, "continuous").arms
    assert set(runpy.run_path(str(SCRIPT))["RUNS"]) == {name for name, arm in arms.items() if arm.train and arm.unasked}


def test_what_is_no_curve_is_refused(runs: list[Step], summary: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "curves"
    other = Step("continuous", "sft", 1, 1, runs[2].dir)
    for given, says in (
        ([], "not of nothing"),
        ([*runs, other], "not of continuous seed 0, continuous seed 1"),
        ([*runs, runs[0]], "arm silmm, iteration 1 is listed twice"),
        ([Step("continuous", "sft", 0, 1, tmp_path)], r"training.jsonl: no such file; run silmm align"),
    ):
        with pytest.raises(InputError, match=says):
            kc_dpo_curves.run(given, None, out)
    with pytest.raises(InputError, match="nothing of the continuous LMM with seed 1"):
        kc_dpo_curves.run([other], summary, out)
    (runs[0].dir / "training.jsonl").write_text('{"step": 0, "rewards/chosen": 0.0}\n')
    with pytest.raises(RecordError, match=r"training.jsonl: not the steps of KC-DPO \('rewards/rejected'\)"):
        kc_dpo_curves.run(runs, None, out)
    (runs[0].dir / "training.jsonl").write_text("{")
    with pytest.raises(RecordError, match=r"training.jsonl: not the steps of KC-DPO"):
        kc_dpo_curves.run(runs, None, out)
    (runs[0].dir / "align.stats.json").unlink()
    with pytest.raises(RecordError, match=r"align.stats.json: no such file; run the stage that makes it"):
        kc_dpo_curves.run(runs, None, out)
    assert not out.parent.exists()
