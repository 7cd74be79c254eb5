"""How good a judge self-improvement needs (not in the paper): gain after one iteration against the judge's accuracy.

The judge is the LMM itself, spoiled on purpose: a share of its answers is swapped before pairs are made, and
`random_score` shuffles the scores of a prompt's images. Accuracy is measured: of the pairs that the oracle decides, the
share in which it, too, gives the chosen picture more units. The others are ties, and their share is in the CSV.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from common import COLORS, Results, check_arms, finish, lmms, main, pairs_judged, percent, point, runs_note
from panels import GAIN, curve, frame

from silmm.report.labels import Labels
from silmm.report.style import INK

# Share of answers that are swapped, the best judge first; None: the scores are shuffled.
ARMS = {
    "silmm": 0.0,
    "spoiled_10": 0.1,
    "spoiled_20": 0.2,
    "spoiled_30": 0.3,
    "spoiled_40": 0.4,
    "random_score": None,
}


def draw(results: Results, out: Path) -> None:
    """Draw a panel an LMM."""
    found = lmms(results)
    size = (5.2 * len(found), 3.9)
    figure, axes = plt.subplots(1, len(found), figsize=size, layout="constrained", squeeze=False, sharey=True)
    tables = {lmm: numbers(results, lmm) for lmm in found}
    for ax, (lmm, data) in zip(axes[0], tables.items(), strict=True):
        _panel(ax, data, lmm, needed(data))
    axes[0][0].set_ylabel(f"{GAIN} (core)")
    figure.draw_without_rendering()  # the axes' final places, which labels go by
    for ax, data in zip(axes[0], tables.values(), strict=True):
        _name(ax, data)
    notes = [
        note for lmm, data in tables.items() for note in (f"{runs_note(results, lmm, 'core')}.", _answer(lmm, data))
    ]
    notes.append("Labels: share of answers that are swapped. Chance is 50 %; ties are left out.")
    data = pd.concat(tables.values())
    if (data.seeds > 1).any():
        notes[-1] += " Pale bars: all seeds."
    finish(figure, data, out, notes)


def numbers(results: Results, lmm: str) -> pd.DataFrame:
    """A row an arm, the most accurate judge first: accuracy of its pairs, number of them, and the gain in `core`."""
    check_arms(results, lmm, ARMS)
    rows = []
    for arm, swapped in ARMS.items():
        pairs, p = pairs_judged(results, lmm, arm), point(results, lmm, arm, "core")
        share = math.nan if swapped is None else swapped
        rows.append({"lmm": lmm, "arm": arm, "swapped": share, **p._asdict(), **pairs._asdict()})
    return pd.DataFrame(rows).sort_values("accuracy", ascending=False, kind="stable", ignore_index=True)


def needed(data: pd.DataFrame) -> tuple[float, float]:
    """Between which accuracies the gain begins: of the worst judge down to which all gain, and of the next one.

    A judge gains if the interval is above 0; nan where there is no such judge, or no next one.
    """
    fails = data.index[~(data.low > 0)]
    first = int(fails[0]) if len(fails) else len(data)
    accuracies = data.accuracy
    return (
        float(accuracies[first - 1]) if first else math.nan,
        float(accuracies[first]) if first < len(data) else math.nan,
    )


def _panel(ax: Any, data: pd.DataFrame, lmm: str, ends: tuple[float, float]) -> None:
    curve(ax, 100 * data.accuracy, data)
    low, high = 100 * data.accuracy.min(), 100 * data.accuracy.max()
    frame(ax, f"{lmm} LMM", "pairs that the oracle decides: agrees, %")
    ax.set_xlim(low - 0.12 * (high - low) - 1, high + 0.18 * (high - low) + 1)
    if not any(map(math.isnan, ends)):
        ax.axvspan(100 * ends[1], 100 * ends[0], color=COLORS[1], alpha=0.15, lw=0, zorder=0)


def _name(ax: Any, data: pd.DataFrame) -> None:
    """How each judge was spoiled, beside its point."""
    points = pd.DataFrame({"x": 100 * data.accuracy, "y": 100 * data.gain})
    rows = data.itertuples()
    bars = [pd.DataFrame({"x": x, "y": [100 * row.low, 100 * row.high]}) for x, row in zip(points.x, rows, strict=True)]
    labels = Labels(ax, [points, *bars])
    for x, y, swapped in zip(points.x, points.y, data.swapped, strict=True):
        text = "scores shuffled" if math.isnan(swapped) else f"{100 * swapped:.0f} %" if swapped else "as it is"
        labels.add(x, y, text, INK)


def _answer(lmm: str, data: pd.DataFrame) -> str:
    """How good a judge the LMM needs, in a sentence."""
    enough, short = needed(data)
    if math.isnan(enough):
        return f"{lmm} LMM: not even the best judge's gain has an interval above 0."
    ties = f"{percent(data.ties.min())} to {percent(data.ties.max())} % of the pairs are ties"
    text = f"{lmm} LMM ({ties}): judges right on {percent(enough)} % of the others or more gain (95 % interval above 0)"
    if math.isnan(short):
        return f"{text}, so do all that were tried."
    return f"{text}; the next worse one, {percent(short)} %, is not shown to gain. Shaded: between the two."


if __name__ == "__main__":
    main(draw, __doc__)
