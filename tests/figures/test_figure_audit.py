"""The audit's figure on a tiny run: its numbers are recomputed here from the files, and lost files are named."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from silmm.records import AUDIT, EVAL, PAIRS, EvalStats, Metric, write_json, write_table
from silmm.shapeworld.language import SUBCATEGORIES

from .program import SCRIPTS, complaint

SAMPLER = {"discrete": "t1.0", "continuous": "fresh_noise"}
KINDS = ("exist", "count", "relation", "total")


def audit(rng: np.random.Generator, pictures: int) -> pd.DataFrame:
    """Answers to three questions about four samples of each prompt."""
    rows: list[dict[str, Any]] = []
    for i, k in itertools.product(range(8), range(4)):
        held = rng.integers(0, 5) / 4
        for q in range(3):
            p_yes, p_no = rng.dirichlet((1, 1, 0.2))[:2].astype(np.float32)
            row = {"prompt_id": f"p{i}", "subcategory": SUBCATEGORIES[i], "sample": k, "question_id": f"q{q}"}
            row |= {"kind": KINDS[(i + q) % 4], "expected": "no" if q == 2 else "yes", "p_yes": p_yes, "p_no": p_no}
            row |= {"oracle": rng.integers(0, pictures + 1) / pictures, "held": held, "whole": float(held == 1)}
            rows.append(row | {"pictures": pictures})
    return pd.DataFrame(rows)


def write(path: Path, data: pd.DataFrame, schema: Any) -> None:
    write_table(path, {name: data[name].tolist() for name in schema.columns}, schema)


def judged(folder: Path, lmm: str, rng: np.random.Generator, own: float) -> pd.DataFrame:
    """eval.parquet of one prompt a sub-category, and the own scores beside it."""
    rows = []
    for i, unit in itertools.product(range(8), range(4)):
        row = {"sampler": SAMPLER[lmm], "prompt_id": f"e{i}", "subcategory": SUBCATEGORIES[i], "sample": 0}
        row |= {"unit": f"u{unit}", "kind": "exist", "oracle": bool(rng.random() < 0.6), "p_yes": 0.5, "p_no": 0.5}
        rows.append(row | {"malformed": False, "objects": 2})
    data = pd.DataFrame(rows)
    write(folder / "eval.parquet", data, EVAL)
    metrics = tuple(Metric("self_score", SAMPLER[lmm], name, own, 4) for name in SUBCATEGORIES)
    write_json(folder / "eval.stats.json", EvalStats(metrics))
    return data


def run(folder: Path, lmm: str) -> tuple[list[Path], list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]]:
    """A base and two iterations: folders, audits, pairs and evaluations."""
    rng = np.random.default_rng(len(lmm))
    folders, audits, pairs, evals = [], [], [], []
    for t in range(3):
        (own := folder / lmm / f"iter{t}").mkdir(parents=True)
        folders.append(own)
        evals.append(judged(own, lmm, rng, 0.2 + 0.1 * t))
        if t:
            audits.append(audit(rng, 1 if lmm == "discrete" else 4))
            write(own / "audit.parquet", audits[-1], AUDIT)
            rows = [(f"p{i}", a, b) for i in range(8) for a, b in ((0, 1), (2, 3))]
            scores = rng.uniform(-1, 1, (len(rows), 2))
            table = pd.DataFrame(rows, columns=["prompt_id", "chosen", "rejected"])
            table["score_chosen"], table["score_rejected"] = scores.max(1), scores.min(1)
            write(own / "pairs.parquet", table, PAIRS)
            pairs.append(table)
    return folders, audits, pairs, evals


def draw(folders: dict[str, list[Path]], out: Path) -> str:
    """Run the script; the line on stderr with which it ends, if it fails."""
    words = [word for lmm, own in folders.items() for word in ("--policies", lmm, *map(str, own))]
    words += ["--out", str(out)]
    return complaint("figure_audit", words)


def test_values_are_those_of_the_files(tmp_path: Path) -> None:
    made_of = {lmm: run(tmp_path, lmm) for lmm in SAMPLER}
    assert draw({lmm: parts[0] for lmm, parts in made_of.items()}, tmp_path / "a/figure_audit.png") == ""
    assert sorted(p.suffix for p in (tmp_path / "a").iterdir()) == [".csv", ".pdf", ".png"]
    made = pd.read_csv(tmp_path / "a/figure_audit.csv")
    for lmm, (_, audits, pairs, evals) in made_of.items():
        for t, data in enumerate(evals):
            row = part_of(made, lmm, t, "held_out").iloc[0]
            assert np.isclose(row.x, 0.2 + 0.1 * t)
            assert np.isclose(row.value, data.groupby("subcategory").oracle.mean().mean(), rtol=1e-5)
        for t, (data, table) in enumerate(zip(audits, pairs, strict=True), 1):
            check_answers(made, lmm, t, data)
            check_pairs(part_of(made, lmm, t, "pairs"), data, table)


def part_of(made: pd.DataFrame, lmm: str, t: int, part: str) -> pd.DataFrame:
    return made[(made.lmm == lmm) & (made.iteration == t) & (made.part == part)]


def check_answers(made: pd.DataFrame, lmm: str, t: int, data: pd.DataFrame) -> None:
    confidence = data.p_yes.astype(float) / (data.p_yes.astype(float) + data.p_no.astype(float))
    bins = (confidence * 10).astype(int).clip(upper=9)
    found, error = part_of(made, lmm, t, "calibration"), 0.0
    assert list(found.n) == list(bins.value_counts().sort_index())
    for (_, row), (_, mine) in zip(found.iterrows(), data.groupby(bins), strict=True):
        assert np.isclose(row.value, mine.oracle.mean(), rtol=1e-5, atol=1e-6)
        error += len(mine) / len(data) * abs(confidence[mine.index].mean() - mine.oracle.mean())
    assert np.isclose(part_of(made, lmm, t, "ece").value.iloc[0], error, rtol=1e-4)
    right = data.oracle.where(data.p_yes > data.p_no, 1 - data.oracle)
    for _, row in part_of(made, lmm, t, "kind").iterrows():
        mine = data[data.kind == row.label]
        assert np.isclose(row.value, right[mine.index].mean(), rtol=1e-5)
        assert np.isclose(row.aside, max(mine.oracle.mean(), 1 - mine.oracle.mean()), rtol=1e-5)
        assert row.value <= row.ceiling + 1e-6 and row.n == len(mine)
    own = (data.p_yes.astype(float) - data.p_no.astype(float)) * np.where(data.expected == "yes", 1, -1)
    step = part_of(made, lmm, t, "step_2").iloc[0]
    assert np.isclose(step.x, own.mean(), rtol=1e-5)  # as many questions of each sample
    assert np.isclose(step.value, data.held.mean(), rtol=1e-5)


def check_pairs(found: pd.DataFrame, data: pd.DataFrame, table: pd.DataFrame) -> None:
    held = data.groupby(["prompt_id", "sample"]).held.first()
    better = [held[r.prompt_id, r.chosen] - held[r.prompt_id, r.rejected] for r in table.itertuples()]
    assert found.n.sum() == len(table)
    right = (found.value.fillna(0) * found.n * (1 - found.aside)).sum()  # of the decided ones
    assert np.isclose(right, np.sum(np.array(better) > 0), rtol=1e-4)
    assert list(found.value.isna()) == list(found.aside == 1)
    assert np.isclose((found.aside * found.n).sum(), np.sum(np.array(better) == 0), rtol=1e-4, atol=1e-6)


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    folders = {"discrete": run(tmp_path, "discrete")[0]}
    for name in "ab":
        assert draw(folders, tmp_path / name / "figure_audit.png") == ""
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize(
    ("lost", "says"),
    [("audit.parquet", "silmm audit"), ("pairs.parquet", "silmm pairs"), ("eval.parquet", "silmm evaluate")],
)
def test_a_lost_file_is_named(tmp_path: Path, lost: str, says: str) -> None:
    folders = run(tmp_path, "discrete")[0]
    (folders[2] / lost).unlink()
    done = draw({"discrete": folders}, tmp_path / "a/figure_audit.png")
    assert "\n" not in done
    assert f"iter2/{lost}: " in done and says in done


def test_pairs_of_other_samples_are_refused(tmp_path: Path) -> None:
    folders, _, pairs, _ = run(tmp_path, "discrete")
    write(folders[1] / "pairs.parquet", pairs[0].assign(chosen=9), PAIRS)
    done = draw({"discrete": folders}, tmp_path / "a/figure_audit.png")
    assert "pairs.parquet: sample 9 of prompt p0 is not in audit.parquet" in done


def test_reward_hacking_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from figure_audit import hacking  # type: ignore[import-not-found]

    path = pd.DataFrame({"part": "held_out", "iteration": [0, 1, 2], "x": [0.1, 0.2, 0.3], "value": [0.5, 0.6, 0.55]})
    assert hacking(path).endswith("policy 2 on held-out prompts (+0.100, \N{MINUS SIGN}0.050).")
    assert hacking(path[:2]).endswith("at no policy.")
