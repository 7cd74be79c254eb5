"""Figure 3: every sub-category by iteration, for both LMMs.

Ours are shares of ShapeWorld's prompts that the oracle finds satisfied in full, with the 95 % interval of the gain over
the base drawn around them; the paper's are SEED-LLaMA's and DreamLLM's scores on T2I-CompBench++, read off its bars.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from common import Results, agreement, check_arms, finish, iterations, lmms, main, point, runs_note, verdict
from published import BESIDE

from silmm.report.style import GREY, INK
from silmm.shapeworld.language import SUBCATEGORIES

ARM = "silmm"
NAMES = ("color", "shape", "texture", "2D spatial", "3D spatial", "numeracy", "non- spatial", "complex")
# by sub-category, in the order of SUBCATEGORIES: the base and three iterations
PAPER = {
    "discrete": (
        (17.9, 37.2, 39.5, 41.9), (19.2, 33.4, 37.5, 36.1), (20.2, 39.9, 37.8, 40.5), (5.7, 9.1, 9.1, 12.1),
        (21.6, 26.0, 25.3, 25.7), (33.4, 36.1, 38.5, 37.8), (29.0, 29.7, 29.4, 29.7), (21.6, 26.0, 27.0, 28.0),
    ),
    "continuous": (
        (20.9, 32.7, 36.1, 35.4), (21.7, 32.0, 36.1, 36.5), (25.9, 39.5, 47.5, 47.1), (6.1, 9.2, 11.8, 12.6),
        (25.5, 27.4, 27.4, 28.2), (39.5, 40.3, 41.1, 41.4), (28.5, 28.5, 28.5, 28.9), (22.8, 25.1, 26.6, 26.3),
    ),
}  # fmt: skip
# From light to dark, so that grey tells them apart: the base first.
SHADES = ("#D9D9D9", "#9ECAE1", "#4292C6", "#08519C")
PAPER_SHADES = ("#E5E5E5", "#BDBDBD", "#8A8A8A", "#525252")


def draw(results: Results, out: Path) -> None:
    """Draw a row an LMM: ours left, the paper's right."""
    found = lmms(results)
    figure, axes = plt.subplots(len(found), 2, figsize=(12.5, 2.9 * len(found)), layout="constrained", squeeze=False)
    tables, notes = [], []
    for lmm, (left, right) in zip(found, axes, strict=True):
        check_arms(results, lmm, [ARM])
        steps = iterations(results, lmm, ARM)
        ours, paper = _ours(results, lmm, steps), _papers(lmm)
        _bars(left, ours, SHADES, f"ShapeWorld, {lmm} LMM", "prompts satisfied in full, %")
        _bars(right, paper, PAPER_SHADES, f"The paper's {BESIDE[lmm][0]}", "score x 100")
        tables += [ours, paper]
        notes += [f"{runs_note(results, lmm)}.", *_compared(lmm, ours, paper, steps)]
    notes.append("Bars of ours: 95 % of the gain over the base, other prompts. The paper's are read off its bars.")
    finish(figure, pd.concat(tables), out, notes)


def _ours(results: Results, lmm: str, steps: list[int]) -> pd.DataFrame:
    rows = []
    for category in SUBCATEGORIES:
        for iteration in (0, *steps):
            p = point(results, lmm, ARM if iteration else "base", category, iteration=iteration)
            rows.append({"whose": "ours", "lmm": lmm, "category": category, "iteration": iteration, **p._asdict()})
    return pd.DataFrame(rows)


def _papers(lmm: str) -> pd.DataFrame:
    """The paper's scores as shares, so that both halves are drawn alike."""
    rows: list[dict[str, Any]] = []
    for category, scores in zip(SUBCATEGORIES, PAPER[lmm], strict=True):
        for iteration, score in enumerate(scores):
            numbers = {"value": score / 100, "gain": (score - scores[0]) / 100}
            rows.append({"whose": "paper", "lmm": lmm, "category": category, "iteration": iteration, **numbers})
    return pd.DataFrame(rows)


def _bars(ax: Any, data: pd.DataFrame, shades: tuple[str, ...], title: str, ylabel: str) -> None:
    steps = sorted(data.iteration.unique())
    width = 0.84 / len(steps)
    places = np.arange(len(SUBCATEGORIES))
    for number, iteration in enumerate(steps):
        rows = data[data.iteration == iteration].set_index("category").loc[list(SUBCATEGORIES)]
        x = places + width * (number - (len(steps) - 1) / 2)
        color = shades[min(number, len(shades) - 1)]
        label = f"iteration {iteration}" if iteration else "base"
        ax.bar(x, 100 * rows.value, 0.92 * width, color=color, edgecolor=INK, lw=0.4, label=label)
        if iteration and "low" in rows:
            middle, ends = 100 * (rows.value - rows.gain), 100 * rows[["low", "high"]]
            ax.vlines(x, middle + ends.low, middle + ends.high, color=INK, lw=0.9)
    ax.set_xticks(places, [name.replace(" ", "\n") for name in NAMES], fontsize=8.5)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    ax.grid(axis="y", color=GREY, alpha=0.25, lw=0.6)
    ax.set_axisbelow(True)
    ax.legend(ncols=len(steps), frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0),
              borderaxespad=0.1, handlelength=1.2, columnspacing=1.0)  # fmt: skip


def _compared(lmm: str, ours: pd.DataFrame, paper: pd.DataFrame, steps: list[int]) -> list[str]:
    """Whether the same sub-categories gain, and when."""
    mine, theirs = (t[t.iteration == 1].set_index("category").gain for t in (ours, paper))
    notes = agreement(list(mine), list(theirs), f"Gain of iteration 1 by sub-category, {lmm} LMM")
    if len(steps) < 2:
        return notes
    mean = ours.groupby("iteration").gain.mean()
    falls = ours.sort_values("iteration").groupby("category").value.diff().min() < 0
    claims = {
        "more than half of the gain comes in iteration 1": mean[1] > mean[steps[-1]] / 2 > 0,
        "some sub-category falls between two iterations": bool(falls),
    }
    return [*notes, *verdict(claims, f"{lmm} LMM")]


if __name__ == "__main__":
    main(draw, __doc__)
