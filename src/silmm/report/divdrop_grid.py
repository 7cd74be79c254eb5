"""The figure behind DivDrop's settings: what its rate and its number of layers do to the samples of a prompt.

Four panels over the rate, a line a number of last layers, means over the sub-categories of `core`:

1. Spread: the mean cosine distance between the features of a prompt's samples. What KC-DPO learns from.
2. One sample: the share of pictures that fulfil the whole prompt, by the oracle. Dashed: without dropout.
3. The best of a prompt's samples by the policy's own score, by the oracle. Dotted: the best of as many that differ by
   decoder noise alone.
4. Malformed pictures.

Panel 3 is the counterpart of the paper's Figure 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from silmm.outputs import figure_files
from silmm.report.labels import Labels
from silmm.report.style import GREY, INK, STYLE, save
from silmm.shapeworld.language import CATEGORY, SUBCATEGORIES

GROUPS = {  # of sub-categories, as the paper's Figures 5 and 6 have them
    **{group: tuple(s for s in SUBCATEGORIES if CATEGORY[s] == group) for group in ("attribute", "layout")},
    "non_spatial_complex": ("non_spatial", "complex"),
}
MEASURED = ("spread", "oracle_prompt", "best_of_n", "best_of_n_oracle", "malformed", "score_sd")
WITH_INTERVAL = ("oracle_prompt", "best_of_n", "best_of_n_oracle")
COLUMNS = (
    *("rate", "layers", "site", "positions", "noise", "samples", "prompts"),
    *(f"{name}{end}" for name in MEASURED for end in (("", "_low", "_high") if name in WITH_INTERVAL else ("",))),
    *(
        f"{name}_{group}{end}"
        for group in GROUPS
        for name, end in (
            ("prompts", ""), ("oracle_prompt", ""), ("best_of_n", ""), ("best_of_n", "_low"), ("best_of_n", "_high"),
            ("best_run", ""),
        )
    ),
)  # fmt: skip
WHOLE, SHARE = "whole prompts, by the oracle (core)", "share of images (core)"
FAINT = "#666666"


def run(rows: Sequence[Mapping[str, Any]], out: Path, lines: Sequence[str], *, chosen: tuple[float, int]) -> None:
    """Draw `out`.png and .pdf (a suffix of `out` is dropped), and write the rows as `out`.csv.

    Args:
        rows: a row a cell, as `silmm.stages.divdrop_grid` measures it. The first two are without dropout: with the
            decoder noise of the others, and with noise of its own for each sample.
        lines: a title, and a line that says what was measured.
        chosen: rate and layers of step 2, which are marked.
    """
    data = pd.DataFrame(rows)
    plain, noise, grid = data.iloc[0], data.iloc[1], data.iloc[2:]
    panels = (
        ("spread", "How far samples of a prompt are apart", "mean cosine distance of features"),
        ("oracle_prompt", "One sample", WHOLE),
        ("best_of_n", f"Best of {plain.samples} by own score", WHOLE),
        ("malformed", "Malformed", SHARE),
    )
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(9.6, 7.0))
        figure.subplots_adjust(left=0.075, right=0.985, top=0.855, bottom=0.115, wspace=0.2, hspace=0.42)
        for ax, (metric, name, scale) in zip(axes.flat, panels, strict=True):
            ax.set_title(name)
            ax.set_ylabel(scale)
            references = {}
            if metric in WITH_INTERVAL:
                references["no dropout"] = (plain.oracle_prompt, (0, (5, 3)))
            if metric == "best_of_n":
                references["noise alone"] = (noise.best_of_n, (0, (1, 2)))
            _panel(ax, grid, plain, metric, references, chosen)
        figure.text(0.012, 0.955, lines[0], fontsize=11)
        figure.text(0.012, 0.925, lines[1], fontsize=8, color=FAINT)
        ring = f"Ring: what step 2 uses (rate {chosen[0]:g}, last {chosen[1]} layers)."
        bars = "Bars: 95 % with other prompts (bootstrap). Noise alone: no dropout, each sample its own decoder noise."
        figure.text(0.012, 0.018, f"{ring} {bars}", fontsize=8, color=FAINT)
        save(figure, data, figure_files(out)[0].with_suffix(""))
        plt.close(figure)


def _panel(
    ax: Any, grid: pd.DataFrame, plain: pd.Series, metric: str, references: dict[str, Any], chosen: tuple[float, int]
) -> None:
    """One metric over the rate, each line from the value without dropout on."""
    _limits(ax, grid, plain, metric, references)
    depths = sorted(set(grid.layers))
    colors = plt.get_cmap("Blues")([0.45 + 0.55 * i / max(len(depths) - 1, 1) for i in range(len(depths))])
    paths, ends, end = [], [], grid.rate.max()
    for number, (depth, color) in enumerate(zip(depths, colors, strict=True)):
        mine = grid[grid.layers == depth].sort_values("rate")
        x, y = [0.0, *mine.rate], [plain[metric], *mine[metric]]
        ax.plot(x, y, "-o", color=color, lw=1.8, ms=4, zorder=3 + number)
        if metric in WITH_INTERVAL:
            aside = mine.rate + 0.006 * (number - (len(depths) - 1) / 2)
            ax.vlines(aside, mine[f"{metric}_low"], mine[f"{metric}_high"], color=color, lw=0.9, alpha=0.5, zorder=2)
        paths.append(pd.DataFrame({"x": x, "y": y}))
        ends.append((end, y[-1], f"last {depth}" if depth < depths[-1] else f"all {depth}", color))
        for at in mine[(mine.rate == chosen[0]) & (mine.layers == chosen[1])][metric]:
            ax.plot(chosen[0], at, "o", mfc="none", mec=INK, mew=1.3, ms=10, zorder=9)
    for name, (value, dashes) in references.items():
        ax.plot([0, end], [value, value], color=GREY, lw=1.1, ls=dashes, zorder=1)
        ends.append((end, value, name, GREY))
    ax.plot(0, plain[metric], "o", color=INK, ms=5, zorder=9)
    if not grid[metric].any():
        ax.text(end / 2, 0.5 * ax.get_ylim()[1], "none", color=GREY, ha="center")
        return
    Labels(ax, paths).column(1.035 * end, ends)


def _limits(ax: Any, grid: pd.DataFrame, plain: pd.Series, metric: str, references: dict[str, Any]) -> None:
    end = grid.rate.max()
    columns = [c for c in (metric, f"{metric}_low", f"{metric}_high") if c in grid]
    values = [*grid[columns].to_numpy().flat, plain[metric], *(value for value, _ in references.values())]
    low, high = (np.nanmin(values), np.nanmax(values)) if references else (0.0, max(np.nanmax(values), 0.05))
    pad = max(0.08 * (high - low), 0.004)
    ax.set_ylim(low - pad if references else -0.4 * pad, high + pad)
    ax.set_xlim(-0.02, 1.26 * end)
    ax.set_xticks([tenth / 10 for tenth in range(1 + int(10 * end + 1e-9))])
    ax.spines.bottom.set_bounds(-0.02, 1.02 * end)
    ax.set_xlabel("dropout rate", x=0.4)
    ax.locator_params(axis="y", nbins=6)
