"""From what each item adds to each category to scores with intervals (bootstrap over items, see silmm.report.stats)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silmm.benchmarks.interface import CORRECTED, OFFICIAL, VARIANTS, Benchmark, Item, Row, Tally
from silmm.benchmarks.judges.numbers import NO_NUMBERS
from silmm.errors import InputError
from silmm.report.stats import Measured, mean_of, measure, percentile_interval


class Score(NamedTuple):
    """One number of a benchmark."""

    variant: str  # of VARIANTS
    category: str  # a category, or a group of them
    score: float
    ci_low: float  # 95 %, nan where there is one item
    ci_high: float
    items: int  # behind it
    members: tuple[str, ...]  # the categories of a group, or the category alone


def scores_of(benchmark: Benchmark, tallies: Sequence[Tally]) -> list[Score]:
    """Scores of both variants: of every category in the order of the tallies, then of every group that is whole."""
    scores = []
    for variant in VARIANTS:
        mine: dict[str, list[Tally]] = defaultdict(list)
        for tally in tallies:
            if tally.variant == variant:
                mine[tally.category].append(tally)
        measured = {category: _measure(category, rows) for category, rows in mine.items()}
        for category, one in measured.items():
            scores.append(_score(benchmark, variant, category, one, (category,)))
        for group, members in benchmark.groups.items():
            if all(member in measured for member in members):
                one = mean_of([measured[member] for member in members])
                scores.append(_score(benchmark, variant, group, one, members))
    return scores


def _measure(category: str, rows: Sequence[Tally]) -> Measured:
    ids = [row.item_id for row in rows]
    return measure(ids, np.array([r.total for r in rows]), np.array([r.weight for r in rows]), category)


def _score(benchmark: Benchmark, variant: str, category: str, measured: Measured, members: tuple[str, ...]) -> Score:
    low, high = percentile_interval(measured.draws_R)
    value, low, high = (benchmark.scale * one for one in (measured.value, low, high))
    return Score(variant, category, value, low, high, len(set(measured.ids)), members)


def check(items: Sequence[Item], rows: Sequence[Row], tallies: Sequence[Tally]) -> dict[str, int]:
    """Items that the published arithmetic leaves out, by category, for the report.

    Raises InputError where one is missing of the corrected scores, or of the rows, or a number is not finite: nothing
    shrinks a denominator in silence.
    """
    asked = {row.item_id for row in rows}
    counted = {tally.item_id for tally in tallies if tally.variant == CORRECTED}
    if lost := [item.id for item in items if item.id not in asked or item.id not in counted]:
        raise InputError(f"{listed(lost)} of {len(items)} items have no question or no score: check their questions")
    bad = [f"{t.item_id} ({t.category})" for t in tallies if not math.isfinite(t.total) or not t.weight > 0]
    if bad:
        raise InputError(f"{listed(bad)}: {NO_NUMBERS}")
    left = Counter(item.category for item in items)
    left.subtract(Counter(item.category for item in items if item.id in _official(tallies)))
    return {category: count for category, count in sorted(left.items()) if count}


def _official(tallies: Sequence[Tally]) -> set[str]:
    return {tally.item_id for tally in tallies if tally.variant == OFFICIAL}


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
