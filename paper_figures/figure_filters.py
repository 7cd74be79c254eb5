"""Which pairs to learn from (not in the paper): filters of pairs, and questions that depend on each other.

Gain over the base in `core` after one iteration, how often the oracle agrees with the pairs that it decides, which
share of them are ties, and how many there are.
Best of N trains nothing: it draws several pictures and keeps the one with the best self-score, a reference for what
the judge knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from common import (
    COLORS,
    MARKERS,
    Results,
    check_arms,
    finish,
    lmms,
    main,
    pairs_judged,
    point,
    runs_note,
    signed,
    with_interval,
)  # fmt: skip

from silmm.report.labels import HALO
from silmm.report.style import GREY, INK

DEFAULT, UNTRAINED = "silmm", "best_of_n"
ARMS = {
    DEFAULT: "default: least gap 0.1",
    "gap_0": "no least gap",
    "gap_30": "least gap 0.3",
    "all_yes": "winner: every answer yes",
    "dependent": "dependent questions",
    UNTRAINED: "best of N, no training",
}


def draw(results: Results, out: Path) -> None:
    """Draw a row an LMM: gain, accuracy of the pairs, number of pairs."""
    found = lmms(results)
    figure, axes = plt.subplots(
        len(found), 4, figsize=(12.0, 2.3 * len(found)), layout="constrained", squeeze=False, sharey=True,
        width_ratios=(2.4, 1, 1, 1),
    )  # fmt: skip
    figure.get_layout_engine().set(hspace=0.08)
    tables, notes = [], []
    for line, lmm in zip(axes, found, strict=True):
        data = numbers(results, lmm)
        tables.append(data)
        _gains(line[0], data, f"{lmm} LMM: gain over the base, points (core)")
        _bars(line[1], data, 100 * data.accuracy, "right, % of decided", "{:.1f}")
        _bars(line[2], data, 100 * data.ties, "ties, % of pairs", "{:.1f}")
        _bars(line[3], data, data.number, "pairs", "{:,.0f}")
        notes += [f"{runs_note(results, lmm, 'core')}, one iteration.", _answer(lmm, data)]
    notes.append("Bars: 95 % of the gain, other prompts. Dotted: the default's gain. Ties: alike to the oracle.")
    data = pd.concat(tables)
    if (data.seeds > 1).any():
        notes[-1] += " Shaded: all seeds."
    finish(figure, data, out, notes)


def numbers(results: Results, lmm: str) -> pd.DataFrame:
    """A row an arm: the gain in `core`, what it has over the default, and its pairs (none for the untrained one)."""
    check_arms(results, lmm, ARMS)
    rows = []
    for arm, name in ARMS.items():
        pairs = {} if arm == UNTRAINED else pairs_judged(results, lmm, arm)._asdict()
        over = {}
        if arm != DEFAULT:  # the tables have the default against the others, paired; here it is the other way round
            p = point(results, lmm, DEFAULT, "core", versus=arm)
            over = {"over_default": -p.gain, "over_low": -p.high, "over_high": -p.low}
        own = point(results, lmm, arm, "core")._asdict()
        rows.append({"lmm": lmm, "arm": arm, "name": name, **own, **over, **pairs})
    return pd.DataFrame(rows)


def _gains(ax: Any, data: pd.DataFrame, title: str) -> None:
    for y, row in enumerate(data.itertuples()):
        look = 1 if row.arm == UNTRAINED else 0
        bars = 100 * np.clip([[row.gain - row.low], [row.high - row.gain]], 0, None)
        ax.errorbar(100 * row.gain, y, xerr=bars, color=COLORS[look], marker=MARKERS[look], ms=6, capsize=2.5, lw=1.6)
        if row.seeds > 1:
            ax.hlines(y, 100 * row.seed_low, 100 * row.seed_high, color=COLORS[look], alpha=0.3, lw=7)
        ax.annotate(signed(row.gain), (100 * max(row.gain, row.high), y), xytext=(5, 0), textcoords="offset points",
                    va="center", fontsize=8, path_effects=HALO)  # fmt: skip
    ax.axvline(0, color=GREY, lw=0.8, zorder=1)
    ax.axvline(100 * data.gain[0], color=COLORS[0], lw=1, ls=(0, (1, 1.5)), zorder=1)
    ax.margins(x=0.12)
    ax.set_ylim(len(data) - 0.5, -0.5)
    ax.set_yticks(range(len(data)), data.name)
    ax.tick_params(axis="y", length=0)
    ax.set_title(title)


def _bars(ax: Any, data: pd.DataFrame, values: pd.Series, title: str, text: str) -> None:
    ax.barh(range(len(data)), values, 0.6, color="#C9D8E6", edgecolor=INK, lw=0.4)
    for y, value in enumerate(values):
        shown = "none" if np.isnan(value) else text.format(value)
        ax.annotate(
            shown, (np.nan_to_num(value), y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    ax.margins(x=0.25)
    ax.tick_params(axis="y", length=0)
    ax.set_title(title)


def _answer(lmm: str, data: pd.DataFrame) -> str:
    """What each filter has over the default, and which differences are told from 0."""
    found: dict[str, list[str]] = {"more": [], "less": [], "no telling": []}
    for _, row in data[~data.arm.isin((DEFAULT, UNTRAINED))].iterrows():
        kind = "more" if row.over_low > 0 else "less" if row.over_high < 0 else "no telling"
        found[kind].append(f"{row['name']} {with_interval(row.over_default, row.over_low, row.over_high)}")
    told = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in found.items() if names)
    return f"{lmm} LMM, gain over the default's (paired, 95 %): {told}."


if __name__ == "__main__":
    main(draw, __doc__)
