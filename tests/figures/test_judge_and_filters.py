"""figure_judge and figure_filters: gains beside what the oracle says of the pairs."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable

import pandas as pd
import pytest

from .conftest import SCRIPTS, Drawn, assert_point, expected


def pairs_of(it: Drawn, lmm: str, arm: str) -> tuple[float, float, int]:
    """Accuracy of an arm's decided pairs, share of ties, and number of all, counted over its sub-categories."""
    right = decided = ties = number = 0.0
    for row in it.summary.itertuples():
        if (row.lmm, row.arm, row.metric) == (lmm, arm, "pair_accuracy"):
            right, decided = right + row.value * row.n, decided + row.n
        if (row.lmm, row.arm, row.metric) == (lmm, arm, "pair_ties"):
            ties, number = ties + row.value * row.n, number + row.n
    assert round(decided + ties) == number
    return right / decided, ties / number, int(number)


def test_the_judges_stand_by_accuracy(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("figure_judge")
    assert len(it.csv) == 12
    for lmm, rows in it.csv.groupby("lmm"):
        assert rows.accuracy.is_monotonic_decreasing
        for _, row in rows.iterrows():
            assert_point(row, expected(it, lmm, row.arm, "core"))
            accuracy, ties, number = pairs_of(it, lmm, row.arm)
            assert [row.accuracy, row.ties, row.number] == pytest.approx([accuracy, ties, number], abs=2e-6)
    assert set(it.csv[it.csv.swapped.isna()].arm) == {"random_score"}


def test_the_gain_begins_where_intervals_leave_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    needed = runpy.run_path(str(SCRIPTS / "figure_judge.py"))["needed"]
    accuracies = [0.9, 0.8, 0.7, 0.6]

    def ends(*lows: float) -> tuple[float, float]:
        return needed(pd.DataFrame({"accuracy": accuracies, "low": lows}))

    assert ends(0.1, 0.1, -0.1, -0.2) == (0.8, 0.7)
    assert ends(0.1, -0.1, 0.1, -0.2) == (0.9, 0.8)  # a worse judge that gains again is no evidence
    assert ends(0.1, 0.1, 0.1, 0.1)[0] == 0.6 and math.isnan(ends(0.1, 0.1, 0.1, 0.1)[1])
    assert math.isnan(ends(-0.1, 0.1, 0.1, 0.1)[0])
    assert ends(0.1, math.nan, 0.1, 0.1) == (0.9, 0.8)


def test_the_filters_stand_against_the_default(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("figure_filters")
    assert len(it.csv) == 12
    for _, row in it.csv.iterrows():
        assert_point(row, expected(it, row.lmm, row.arm, "core"))
        if row.arm == "best_of_n":
            assert math.isnan(row.accuracy) and math.isnan(row.ties) and math.isnan(row.number)
        else:
            accuracy, ties, number = pairs_of(it, row.lmm, row.arm)
            assert [row.accuracy, row.ties, row.number] == pytest.approx([accuracy, ties, number], abs=2e-6)
        if row.arm == "silmm":
            assert math.isnan(row.over_default)
        else:
            paired = expected(it, row.lmm, "silmm", "core", versus=row.arm)
            over = [-paired.gain_abs, -paired.ci_high, -paired.ci_low]
            assert [row.over_default, row.over_low, row.over_high] == pytest.approx(over, abs=2e-6)
