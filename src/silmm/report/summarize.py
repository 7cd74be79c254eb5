"""`silmm summarize`: every evaluation of a run into one long table, and what was gained into a second.

summary.csv, one row a (policy, sampler, category, metric):
    lmm, arm, seed, iteration, sampler, category, metric, value, ci_low, ci_high, n
  ci_low, ci_high: 95 % bootstrap over prompts; empty for metrics that `eval.stats.json` brings as one number, and
  where a category has a single prompt. n: the judgements behind the value (units for oracle_question, else images;
  images that are not malformed for objects).

gains.csv, one row a (arm, iteration, what it is compared with, sampler, category, metric), means over seeds:
    lmm, arm, role, versus, sampler, category, metric, iteration, base, value, gain_abs, gain_rel,
    ci_low, ci_high, t_low, t_high, seeds
  role: main, control or untrained. versus: `base`, or for the main arm every other arm at the same iteration (an
  untrained one: at any). base: the value of what it is compared with. gain_abs = value - base; gain_rel = gain_abs /
  base. ci_*: 95 % of gain_abs with other prompts (paired, clustered bootstrap, the seeds at hand); t_*: 95 % of
  gain_abs with other seeds (Student's t; empty for one seed). See `silmm.report.stats`.

oracle_prompt: share of images for which every unit holds, the number of objects in all (`total`) included.
oracle_question: share of units that hold. malformed: share of images that are no picture of any scene.
objects: mean number of objects on the images that are not malformed; a category without any has no such row.
Category `all` is the plain mean of the eight sub-categories, `core` that of the six without spatial_3d, non_spatial;
`attribute` and `layout` are the means that the paper's Table 1 has (color, shape, texture; spatial_2d, spatial_3d,
numeracy), beside which it has non_spatial and complex.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silmm.csv_files import to_csv
from silmm.errors import InputError, RecordError
from silmm.records import EVAL, EvalStats, atomic_file, read_json, read_table
from silmm.report import stats
from silmm.report.entries import BASE, MAIN, UNTRAINED, Entry, arm_order, ordered
from silmm.report.stats import Measured
from silmm.shapeworld.language import CATEGORY, CORE, SUBCATEGORIES

_MEANS = {
    **{"all": SUBCATEGORIES, "core": CORE},
    **{group: tuple(s for s in SUBCATEGORIES if CATEGORY[s] == group) for group in ("attribute", "layout")},
}
CATEGORIES = (*SUBCATEGORIES, *_MEANS)
ORACLE_METRICS = ("oracle_prompt", "oracle_question", "malformed", "objects")
METRICS = (
    *("oracle_prompt", "oracle_question", "self_score", "vqa_accuracy", "pair_accuracy", "pair_ties"),
    *("malformed", "objects", "prompt_valid", "question_coverage", "diversity"),
)
SUMMARY = ("lmm", "arm", "seed", "iteration", "sampler", "category", "metric", "value", "ci_low", "ci_high", "n")
GAINS = (
    *("lmm", "arm", "role", "versus", "sampler", "category", "metric", "iteration", "base", "value"),
    *("gain_abs", "gain_rel", "ci_low", "ci_high", "t_low", "t_high", "seeds"),
)

What = tuple[str, str, str]  # sampler, category, metric


def oracle_metrics(path: Path) -> dict[What, Measured]:
    """The metrics that eval.parquet gives, per sampler and category; RecordError names the file and what is wrong."""
    images = _images(path)
    found: dict[What, Measured] = {}
    for sampler, drawn in images.groupby("sampler", sort=True):
        missing = sorted(set(SUBCATEGORIES) - set(drawn["subcategory"]))
        if missing:
            raise RecordError(f"{path}: sampler {sampler} has no prompts of {', '.join(missing)}")
        for category, rows in drawn.groupby("subcategory", sort=True):
            ids, single = rows["prompt_id"].to_numpy(), np.ones(len(rows))
            for metric, sums, counts in (
                ("oracle_prompt", rows["whole"], single),
                ("oracle_question", rows["hold"], rows["units"].to_numpy()),
                ("malformed", rows["malformed"], single),
                ("objects", rows["objects"], 1.0 - rows["malformed"].to_numpy()),
            ):
                if np.sum(counts):
                    found[sampler, category, metric] = stats.measure(ids, sums.to_numpy(), counts, stratum=category)
        for metric in ORACLE_METRICS:
            for name, members in _MEANS.items():
                parts = [found[sampler, m, metric] for m in members if (sampler, m, metric) in found]
                if len(parts) == len(members):
                    found[sampler, name, metric] = stats.mean_of(parts)
    return found


def _images(path: Path) -> Any:
    """One row an image: units that hold, units in all, whether the whole prompt holds, whether it is malformed, and
    the objects on it (0 if it is)."""
    rows = read_table(path, EVAL).to_pandas()
    if rows.empty:
        raise RecordError(f"{path}: no rows")
    images = rows.groupby(["sampler", "subcategory", "prompt_id", "sample"], sort=True, observed=True).agg(
        **{"hold": ("oracle", "sum"), "units": ("oracle", "size"), "whole": ("oracle", "all")},
        **{"malformed": ("malformed", "any"), "objects": ("objects", "max")},
    )
    if (images["objects"] * images["malformed"]).any():
        raise RecordError(f"{path}: a malformed picture has objects; run silmm evaluate again")
    return images.reset_index()


def stats_metrics(path: Path) -> dict[What, tuple[float, int]]:
    """The metrics that eval.stats.json gives as (value, n); adds `all` and `core` where their categories are there."""
    found: dict[What, tuple[float, int]] = {}
    for row in read_json(path, EvalStats).metrics:
        what = row.sampler, row.category, row.metric
        if row.category not in CATEGORIES:
            raise RecordError(f"{path}: {row.metric} has the unknown category '{row.category}'")
        if row.metric in ORACLE_METRICS or what in found:
            raise RecordError(f"{path}: {', '.join(what)} is there twice, or is for eval.parquet to say")
        found[what] = row.value, row.n
    for sampler, metric in sorted({(s, m) for s, _, m in found}):
        for name, members in _MEANS.items():
            parts = [found[sampler, m, metric] for m in members if (sampler, m, metric) in found]
            if len(parts) == len(members):
                mean = sum(value for value, _ in parts) / len(parts)
                found.setdefault((sampler, name, metric), (mean, sum(n for _, n in parts)))
    return found


def measured(entry: Entry) -> dict[What, Measured]:
    """All metrics of one evaluation, oracle's and others; the others have no replicates (nan)."""
    unknown = np.full(stats.RESAMPLES, np.nan)
    single = {what: Measured((), value, n, unknown) for what, (value, n) in stats_metrics(entry.stats).items()}
    return oracle_metrics(entry.eval) | single


def _rank(names: Sequence[str], name: str) -> tuple[int, str]:
    return (names.index(name) if name in names else len(names)), name


def _order(what: What) -> tuple[Any, ...]:
    """Categories and metrics in the order of the docs, the ones unknown to it by name after them."""
    sampler, category, metric = what
    return sampler, _rank(METRICS, metric), _rank(CATEGORIES, category)


def summary_rows(found: dict[Entry, dict[What, Measured]]) -> list[dict[str, Any]]:
    """The rows of summary.csv."""
    rows = []
    for e, metrics in found.items():
        for what in sorted(metrics, key=_order):
            it = metrics[what]
            numbers = (it.value, *stats.percentile_interval(it.draws_R), it.n)
            rows.append(dict(zip(SUMMARY, (*e.key, *what, *numbers), strict=True)))
    return rows


def _run_order(run: tuple[str, str, str, int]) -> tuple[Any, ...]:
    lmm, arm, role, iteration = run
    return lmm, arm_order(arm, role), iteration


def gain_rows(found: dict[Entry, dict[What, Measured]]) -> list[dict[str, Any]]:
    """The rows of gains.csv: each arm against the base, and the main arm against each other arm, seed by seed."""
    by_key = {e.key: metrics for e, metrics in found.items()}
    runs = sorted({(e.lmm, e.arm, e.role, e.iteration) for e in found if e.arm != BASE}, key=_run_order)
    rows = []
    for lmm, arm, role, iteration in runs:
        against = [(BASE, 0)]
        if role == MAIN:
            others = [run for run in runs if run[0] == lmm and run[1] != arm]
            against += [(a, t) for _, a, r, t in others if r == UNTRAINED or t == iteration]
        for other, at in against:
            seeds = sorted(e.seed for e in found if (e.lmm, e.arm, e.iteration) == (lmm, arm, iteration))
            seeds = [s for s in seeds if (lmm, other, s, at) in by_key]
            before = [by_key[lmm, other, s, at] for s in seeds]
            after = [by_key[lmm, arm, s, iteration] for s in seeds]
            names = {"lmm": lmm, "arm": arm, "role": role, "versus": other, "iteration": iteration}
            try:
                rows += _contrast(before, after, names)
            except ValueError as error:
                raise InputError(f"{lmm}: {arm} iteration {iteration} against {other}: {error}") from None
    return rows


def _contrast(
    before: list[dict[What, Measured]], after: list[dict[What, Measured]], names: dict[str, Any]
) -> list[dict[str, Any]]:
    """One row for each metric that all the evaluations have."""
    if not before:
        return []
    rows = []
    for what in sorted(set.intersection(*(set(metrics) for metrics in before + after)), key=_order):
        olds, news = [m[what] for m in before], [m[what] for m in after]
        gain = stats.paired_difference(olds, news)
        base, value = (sum(m.value for m in side) / len(side) for side in (olds, news))
        row = names | dict(zip(("sampler", "category", "metric"), what, strict=True)) | gain._asdict()
        row |= {"gain_abs": gain.value, "gain_rel": gain.value / base if base else math.nan}
        rows.append(row | {"base": base, "value": value})
    return rows


def table(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    """The rows as CSV text: six significant digits (the same bytes on every run), nothing for nan."""
    names = list(columns)
    return to_csv(names, ([row[name] for name in names] for row in rows), ".6g")


def run(entries: Iterable[Entry], out: Path, gains: Path) -> None:
    """Write summary.csv (`out`) and gains.csv (`gains`) of all entries; see the module for their columns.

    Raises:
        InputError: a bad or missing entry or file, named; nothing is written then.
    """
    found = {e: measured(e) for e in ordered(entries)}
    tables = {Path(out): table(SUMMARY, summary_rows(found)), Path(gains): table(GAINS, gain_rows(found))}
    for path, text in tables.items():
        with atomic_file(path, SUMMARY if path == Path(out) else GAINS) as temporary:
            temporary.write_text(text, encoding="utf-8")
