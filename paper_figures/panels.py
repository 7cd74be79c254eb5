"""What the scripts with curves share: our gains with their intervals, and the paper's beside them, on one scale.

Both are gains over the base in points (times 100), which is what a prompt's or a pair's number changes; the scores
themselves are of two kinds (shares of prompts here, scores of T2I-CompBench++ there) and have no common scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from common import COLORS, GROUPS, MARKERS, PAPER_COLOR, Results, check_arms, point
from published import base

from silmm.report.style import GREY

GAIN = "gain over the base, points"
SCALES = (
    "Gains over the own base, times 100: ours of the share of prompts satisfied in full, the paper's of scores of"
    " T2I-CompBench++ (read off)."
)


def curve(ax: Any, x: Sequence[float], data: pd.DataFrame, look: int = 0, line: str = "-") -> None:
    """Our gains at `x`, times 100, with 95 % intervals: columns gain, low, high, and what seeds differ by: seed_low,
    seed_high, seeds. `look` numbers colour and marker."""
    # A bootstrap's percentiles need not hold the value itself, and an error bar must not be negative.
    bars = 100 * np.clip([data.gain - data.low, data.high - data.gain], 0, None)
    ax.errorbar(
        x, 100 * data.gain, yerr=bars, color=COLORS[look], marker=MARKERS[look], ls=line, lw=1.8, ms=5, elinewidth=1.2,
        capsize=2.5, label="ShapeWorld, 95 % interval", zorder=4,
    )  # fmt: skip
    if (data.seeds > 1).any():
        ends = 100 * data.seed_low, 100 * data.seed_high
        ax.vlines(x, *ends, color=COLORS[look], alpha=0.3, lw=7, label="all seeds", zorder=2)


def papers(ax: Any, x: Sequence[float], gains: Sequence[float]) -> None:
    """The paper's gains at `x`, in points."""
    ax.plot(
        x, gains, color=PAPER_COLOR, ls=(0, (4, 2)), lw=1.3, marker="o", mfc="white", ms=4.5, label="paper", zorder=3
    )


def frame(ax: Any, title: str, xlabel: str, ticks: Mapping[str, float] | None = None) -> None:
    """Words, labelled ticks (or those that matplotlib finds), and the base's line at 0."""
    ax.axhline(0, color=GREY, lw=0.8, zorder=1)
    ax.set_title(title)
    ax.set_xlabel(xlabel)
    if ticks:
        ax.set_xticks(list(ticks.values()), list(ticks))
        ax.minorticks_off()


def legend(figure: Any, ax: Any) -> None:
    """One legend above all panels, of what `ax` shows."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)


def by_group(results: Results, lmm: str, arms: Mapping[str, tuple[float, Sequence[float]]]) -> pd.DataFrame:
    """A row a group and arm, {arm: (its setting, the paper's scores by group)}: our gain, and the paper's in points.

    An arm without scores has no counterpart in the paper.
    """
    check_arms(results, lmm, arms)
    rows = []
    for number, group in enumerate(GROUPS):
        for arm, (setting, scores) in arms.items():
            row = {"lmm": lmm, "category": group, "arm": arm, "setting": setting}
            row |= point(results, lmm, arm, group)._asdict()
            if scores:
                row |= {"paper": scores[number], "paper_gain": scores[number] - base(lmm)[number]}
            rows.append(row)
    return pd.DataFrame(rows)


def group_panels(data: pd.DataFrame, xlabel: str, ticks: Mapping[str, float], log: bool = False) -> tuple[Any, Any]:
    """A panel a group of `by_group`'s rows that have a counterpart in the paper; returns the figure and its axes."""
    figure, axes = plt.subplots(1, len(GROUPS), figsize=(11.5, 3.3), layout="constrained", sharey=True)
    for ax, (group, name) in zip(axes, GROUPS.items(), strict=True):
        rows = data[(data.category == group) & data.paper.notna()]
        papers(ax, rows.setting, rows.paper_gain)
        curve(ax, rows.setting, rows)
        if log:
            ax.set_xscale("log", base=2)
        frame(ax, name, xlabel, ticks)
    axes[0].set_ylabel(GAIN)
    legend(figure, axes[0])
    return figure, axes
