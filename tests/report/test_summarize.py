"""The two tables of `silmm summarize`: columns, numbers against a count by hand, bytes, and refusals."""

from __future__ import annotations

import csv
import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from silmm.errors import InputError
from silmm.records import EVAL, EvalStats, Metric, write_json, write_table
from silmm.report import summarize
from silmm.report.entries import Entry, ordered
from silmm.schemas import Table
from silmm.shapeworld.language import CORE, SUBCATEGORIES


def tables(entries: list[Entry], folder: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    out = folder / "summary.csv", folder / "gains.csv"
    summarize.run(entries, *out)
    summary, gains = (list(csv.DictReader(path.open())) for path in out)
    return summary, gains


def pick(rows: list[dict[str, str]], **wanted: object) -> dict[str, str]:
    (row,) = [r for r in rows if all(r[name] == str(value) for name, value in wanted.items())]
    return row


def test_summary_against_a_count_by_hand(tmp_path: Path, evaluation: Callable[..., Entry]) -> None:
    e = evaluation(tmp_path / "base", 0.7, samplers=("t1.0", "top_p0.9"))
    summary, gains = tables([e], tmp_path)
    assert tuple(summary[0]) == summarize.SUMMARY
    assert gains == []
    rows = pq.read_table(e.eval).to_pylist()

    def by_hand(sampler: str, category: str) -> tuple[float, float, int]:
        mine = [r for r in rows if r["sampler"] == sampler and r["subcategory"] == category]
        images: dict[tuple[str, int], list[bool]] = {}
        for r in mine:
            images.setdefault((r["prompt_id"], r["sample"]), []).append(r["oracle"])
        whole = sum(all(units) for units in images.values()) / len(images)
        return whole, sum(r["oracle"] for r in mine) / len(mine), len(images)

    prompts = []
    for category in SUBCATEGORIES:
        whole, question, images = by_hand("top_p0.9", category)
        prompts.append(whole)
        row = pick(summary, sampler="top_p0.9", category=category, metric="oracle_prompt")
        assert (row["value"], row["n"], row["arm"], row["iteration"]) == (f"{whole:.6g}", str(images), "base", "0")
        assert float(row["ci_low"]) <= whole <= float(row["ci_high"])
        row = pick(summary, sampler="top_p0.9", category=category, metric="oracle_question")
        assert (row["value"], row["n"]) == (f"{question:.6g}", str(3 * images))
    core = [p for c, p in zip(SUBCATEGORIES, prompts, strict=True) if c not in ("spatial_3d", "non_spatial")]
    for name, values in (("all", prompts), ("core", core)):
        row = pick(summary, sampler="top_p0.9", category=name, metric="oracle_prompt")
        assert row["value"] == f"{sum(values) / len(values):.6g}"


def test_metrics_of_the_stats_file_come_along(tmp_path: Path, evaluation: Callable[..., Entry]) -> None:
    summary, _ = tables([evaluation(tmp_path / "base", 0.7)], tmp_path)
    row = pick(summary, metric="self_score")
    assert (row["category"], row["value"], row["ci_low"], row["n"]) == ("all", "0.3", "", "96")
    row = pick(summary, metric="vqa_accuracy", category="core")  # added: the mean of the categories that are there
    assert (row["sampler"], row["value"], row["n"]) == ("", "0.9", "300")


def test_gains_are_paired_and_averaged_over_seeds(tmp_path: Path, entries: list[Entry]) -> None:
    summary, gains = tables(entries, tmp_path)
    assert tuple(gains[0]) == summarize.GAINS
    core = {"metric": "oracle_prompt", "category": "core", "sampler": "t1.0"}
    row = pick(gains, arm="silmm", versus="base", iteration=3, **core)
    values = {
        arm: [float(pick(summary, arm=arm, iteration=t, seed=s, **core)["value"]) for s in range(2)]
        for arm, t in (("base", 0), ("silmm", 3))
    }
    base, value = (sum(values[arm]) / 2 for arm in ("base", "silmm"))
    assert float(row["base"]) == pytest.approx(base, rel=1e-5)
    assert float(row["gain_abs"]) == pytest.approx(value - base, rel=1e-4)
    assert float(row["gain_rel"]) == pytest.approx(value / base - 1, rel=1e-4)
    assert float(row["ci_low"]) < float(row["gain_abs"]) < float(row["ci_high"])
    assert float(row["t_low"]) < float(row["gain_abs"]) < float(row["t_high"])
    assert row["seeds"] == "2"
    versus = {r["versus"] for r in gains if r["arm"] == "silmm" and r["iteration"] == "2"}
    assert versus == {"base", "dpo", "sft", "random_score", "best_of_n"}
    assert {r["versus"] for r in gains if r["arm"] == "sft"} == {"base"}
    assert (
        pick(gains, arm="silmm", versus="sft", iteration=1, **core)["base"]
        == (pick(gains, arm="sft", versus="base", iteration=1, **core)["value"])
    )


def test_one_seed_has_no_interval_over_seeds(tmp_path: Path, entries: list[Entry]) -> None:
    _, gains = tables([e for e in entries if e.seed == 1 and e.iteration < 2], tmp_path)
    row = pick(gains, arm="silmm", versus="base", iteration=1, metric="oracle_prompt", category="core")
    assert (row["t_low"], row["t_high"], row["seeds"]) == ("", "", "1")
    assert row["ci_low"] != ""


def test_the_same_bytes_whatever_the_order(tmp_path: Path, entries: list[Entry]) -> None:
    some = [e for e in entries if e.arm in ("base", "silmm", "sft") and e.iteration < 3]
    tables(some, tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("summary.csv", "gains.csv")]
    tables(some[::-1], tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("summary.csv", "gains.csv")] == first
    assert b"-0," not in first[1]


def test_a_smaller_run_gives_the_same_rows(tmp_path: Path, entries: list[Entry]) -> None:
    """More seeds or arms add rows to the summary, they change none."""
    some = [e for e in entries if e.iteration < 2]
    small, _ = tables([e for e in some if e.seed == 0 and e.arm in ("base", "silmm")], tmp_path)
    large, _ = tables(some, tmp_path)
    assert [r for r in large if r["seed"] == "0" and r["arm"] in ("base", "silmm")] == small


def test_base_comes_first_and_bad_listings_are_refused(tmp_path: Path) -> None:
    base = Entry("discrete", "base", 0, 0, tmp_path, tmp_path)
    arms = [dataclasses.replace(base, arm=arm, iteration=1) for arm in ("alpha", "sft", "omega", "kc_dpo", "vote")]
    arms[2:5:2] = [dataclasses.replace(arms[2], role="main"), dataclasses.replace(arms[4], role="untrained")]
    assert [e.arm for e in ordered([*arms, base])] == ["base", "omega", "kc_dpo", "sft", "alpha", "vote"]
    with pytest.raises(InputError, match="listed twice"):
        ordered([base, base])
    with pytest.raises(InputError, match="iteration 0"):
        ordered([dataclasses.replace(base, iteration=1)])
    with pytest.raises(InputError, match="seed1/sft/iter1 has no base"):
        ordered([base, dataclasses.replace(arms[1], seed=1)])


def test_an_lmm_has_one_main_arm_whatever_its_name(tmp_path: Path) -> None:
    base = Entry("discrete", "base", 0, 0, tmp_path, tmp_path)
    first, second = (dataclasses.replace(base, arm=arm, iteration=1) for arm in ("silmm", "other"))
    for arms, says in (
        ([first, second], "not none"),
        ([dataclasses.replace(e, role="main") for e in (first, second)], "not other, silmm"),
    ):
        with pytest.raises(InputError, match=f"discrete: one arm must be the main one .*{says}"):
            ordered([base, *arms])
    again = dataclasses.replace(first, role="main", iteration=2)
    with pytest.raises(InputError, match="discrete/seed0/silmm/iter1: the arm is control here, and main in another"):
        ordered([base, first, again])


def test_the_main_arm_and_the_untrained_one_are_known_by_their_role(
    tmp_path: Path, evaluation: Callable[..., Entry]
) -> None:
    arms = [
        ("base", 0, ""),
        ("mine", 1, "main"),
        ("mine", 2, "main"),
        ("vote", 1, "untrained"),
        ("other", 1, "control"),
    ]
    made = [evaluation(tmp_path / f"{a}{t}", 0.7 + t / 20, arm=a, iteration=t, role=role) for a, t, role in arms]
    _, gains = tables(made, tmp_path)
    found = dict.fromkeys((r["arm"], r["role"], r["iteration"], r["versus"]) for r in gains)
    assert list(found) == [
        *(("mine", "main", "1", "base"), ("mine", "main", "1", "other"), ("mine", "main", "1", "vote")),
        *(("mine", "main", "2", "base"), ("mine", "main", "2", "vote")),
        *(("other", "control", "1", "base"), ("vote", "untrained", "1", "base")),
    ]


def rewrite(e: Entry, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change the rows of an evaluation; None drops one."""
    rows = [row for r in pq.read_table(e.eval).to_pylist() if (row := change(r))]
    write_table(e.eval, {name: [r[name] for r in rows] for name in EVAL.columns}, EVAL)


def test_objects_are_counted_on_pictures_that_are_no_malformed_ones(
    tmp_path: Path, evaluation: Callable[..., Entry]
) -> None:
    base = evaluation(tmp_path / "base", 0.7)
    after = evaluation(tmp_path / "after", 0.9, arm="silmm", iteration=1, role="main")
    summary, gains = tables([base, after], tmp_path)
    means = []
    for e in (base, after):
        rows = [r for r in pq.read_table(e.eval).to_pylist() if r["subcategory"] == "color"]
        images = {(r["prompt_id"], r["sample"]): r["objects"] for r in rows if not r["malformed"]}
        row = pick(summary, arm=e.arm, category="color", metric="objects")
        means.append(sum(images.values()) / len(images))
        assert (row["value"], row["n"]) == (f"{means[-1]:.6g}", str(len(images)))
        assert float(row["ci_low"]) < means[-1] < float(row["ci_high"])
    assert means[1] > means[0]
    assert len({r["malformed"] for r in pq.read_table(base.eval).to_pylist()}) == 2  # else this tells nothing
    drift = pick(gains, versus="base", category="color", metric="objects")
    assert float(drift["gain_rel"]) == pytest.approx(means[1] / means[0] - 1, rel=1e-4)
    cores = [float(pick(summary, arm="base", category=c, metric="objects")["value"]) for c in CORE]
    core = pick(summary, arm="base", category="core", metric="objects")["value"]
    assert float(core) == pytest.approx(sum(cores) / len(cores), rel=1e-5)


def test_the_number_of_objects_changes_no_other_row(tmp_path: Path, evaluation: Callable[..., Entry]) -> None:
    e = evaluation(tmp_path / "base", 0.7)
    first, _ = tables([e], tmp_path)
    rewrite(e, lambda r: r | {"objects": 0 if r["malformed"] else 7 - r["objects"]})
    second, _ = tables([e], tmp_path)
    assert first != second
    others = [[r for r in rows if r["metric"] != "objects"] for rows in (first, second)]
    assert others[0] == others[1]


def test_where_every_picture_is_malformed_there_are_no_objects(
    tmp_path: Path, evaluation: Callable[..., Entry]
) -> None:
    def broken(r: dict[str, Any]) -> dict[str, Any]:
        """All of `shape`, and all prompts of `color` but one."""
        bad = r["subcategory"] == "shape" or (r["subcategory"] == "color" and r["prompt_id"] != "color-000")
        return r | ({"malformed": True, "objects": 0} if bad else {})

    base = evaluation(tmp_path / "base", 0.7)
    after = evaluation(tmp_path / "after", 0.9, arm="silmm", iteration=1, role="main")
    rewrite(after, broken)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # 0 / 0
        summary, gains = tables([base, after], tmp_path)
    found = {r["category"] for r in summary if (r["arm"], r["metric"]) == ("silmm", "objects")}
    assert found == {*SUBCATEGORIES, "layout"} - {"shape"}
    assert {r["category"] for r in gains if r["metric"] == "objects"} == found
    alone = pick(gains, category="color", metric="objects")
    assert (alone["gain_abs"] != "", alone["ci_low"], alone["ci_high"]) == (True, "", "")
    assert pick(summary, arm="silmm", category="shape", metric="malformed")["value"] == "1"


def test_bad_files_are_named_and_nothing_is_written(tmp_path: Path, evaluation: Callable[..., Entry]) -> None:
    base, after = (
        evaluation(tmp_path / "base", 0.7),
        evaluation(tmp_path / "a", 0.8, arm="silmm", iteration=1, role="main"),
    )
    out, gains = tmp_path / "summary.csv", tmp_path / "gains.csv"
    rewrite(after, lambda r: r if r["subcategory"] != "texture" else None)
    with pytest.raises(InputError, match=r"a/eval.parquet: sampler t1.0 has no prompts of texture"):
        summarize.run([base, after], out, gains)
    rewrite(base, lambda r: r | {"malformed": True, "objects": 2})
    with pytest.raises(InputError, match=r"base/eval.parquet: a malformed picture has objects"):
        summarize.run([base], out, gains)
    old = Table(EVAL.stage, {name: kind for name, kind in EVAL.columns.items() if name != "objects"}, EVAL.key)
    columns = pq.read_table(base.eval).to_pydict()
    base.eval.unlink()
    write_table(base.eval, {name: columns[name] for name in old.columns}, old)
    with pytest.raises(InputError, match=r"base/eval.parquet: columns are .* malformed: expected .* objects; delete"):
        summarize.run([base], out, gains)
    base.eval.unlink()  # of other columns: it would not be written over
    base = evaluation(tmp_path / "base", 0.7)
    after = evaluation(tmp_path / "a", 0.8, arm="silmm", iteration=1, prompts=5, role="main")
    with pytest.raises(InputError, match=r"silmm iteration 1 against base: .* different prompts"):
        summarize.run([base, after], out, gains)
    for metric in (Metric("self_score", "t1.0", "nowhere", 0.1, 1), Metric("malformed", "t1.0", "all", 0.1, 1)):
        write_json(base.stats, EvalStats((metric,)))
        with pytest.raises(InputError, match=r"base/eval.stats.json: .*(nowhere|malformed)"):
            summarize.run([base], out, gains)
    base.eval.unlink()
    write_json(base.stats, EvalStats(()))
    with pytest.raises(InputError, match=r"base/eval.parquet: no such file"):
        summarize.run([base], out, gains)
    assert not out.exists()
    assert not gains.exists()
