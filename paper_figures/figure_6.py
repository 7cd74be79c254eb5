"""Figure 6: the best of ten by dropout rate, on the base of the continuous LMM; the paper's numbers below ours.

Ours come from DivDrop's grid of rates and layers, at the number of layers that step 2 uses. The paper prints one number
a rate and group, and does not say what is the best of what; its 30.7 is also the maximum of a box in its Figure 5. So
there are two counterparts: the best of each prompt's ten by the LMM's own score, and the best of ten runs over all
prompts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from common import COLORS, MARKERS, PAPER_COLOR, finish
from measured import GROUPS, main

from silmm.errors import InputError
from silmm.report.labels import HALO
from silmm.report.style import GREY

RATES = (0.1, 0.3, 0.5, 0.7)
PAPER = {"attribute": (29.2, 30.7, 29.9, 30.2), "layout": (27.8, 26.3, 26.7, 23.0),
         "non_spatial_complex": (26.6, 27.2, 26.9, 25.7)}  # fmt: skip
LINES = {"best_of_n": "best of ten a\nprompt, own score", "best_run": "best of ten runs", "oracle_prompt": "one sample"}
DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))


def numbers(grid: pd.DataFrame, layers: int, path: Path) -> pd.DataFrame:
    """A row a (category, metric, rate): value and, where there is one, its interval, times 1; the paper's number beside
    the best of ten. InputError where the grid lacks a rate, the number of layers, or a group."""
    rows: list[dict[str, Any]] = []
    for group, known in PAPER.items():
        for rate, paper in zip(RATES, known, strict=True):
            found = grid[(grid.layers == layers) & (grid.rate == rate)]
            if len(found) != 1:
                raise InputError(f"{path}: {len(found)} rows of rate {rate} in the last {layers} layers: expected one;"
                                 " run snakemake figure_6 --forcerun divdrop_grid")  # fmt: skip
            for metric in LINES:
                name = f"{metric}_{group}"
                row = {
                    "category": group,
                    "metric": metric,
                    "rate": rate,
                    "layers": layers,
                    "value": found[name].iloc[0],
                }
                if metric == "best_of_n":
                    row |= {end: found[f"{name}_{end}"].iloc[0] for end in ("low", "high")}
                row |= {"samples": int(found.samples.iloc[0]), "prompts": int(found[f"prompts_{group}"].iloc[0])}
                rows.append(row | ({} if metric == "oracle_prompt" else {"paper": paper}))
    return pd.DataFrame(rows)


def checked(path: Path) -> pd.DataFrame:
    """The grid; InputError where it is not there, or not what silmm divdrop-grid writes."""
    again = "run snakemake figure_6 --forcerun divdrop_grid"
    if not path.is_file():
        raise InputError(f"{path}: no such file; {again}")
    grid = pd.read_csv(path)
    named = [f"{metric}_{group}" for metric in LINES for group in GROUPS]
    named += [f"best_of_n_{group}_{end}" for group in GROUPS for end in ("low", "high")]
    lost = [name for name in ("rate", "layers", "samples", *named) if name not in grid]
    if lost or grid[named].isna().any(axis=None):
        what = f"no column {lost[0]}" if lost else "empty cells"
        raise InputError(f"{path}: {what}; {again}")
    return grid


def draw(measured: Path, layers: int, out: Path) -> None:
    """Ours above, the paper's below, a column a group."""
    grid = checked(measured)
    table = numbers(grid, layers, measured)
    figure, axes = plt.subplots(
        2, 3, figsize=(9.6, 6.6), sharex=True, sharey="row", gridspec_kw={"height_ratios": [1.7, 1]}
    )
    figure.subplots_adjust(left=0.075, right=0.85, top=0.925, bottom=0.285, wspace=0.12, hspace=0.16)
    none = grid[grid.rate == 0].iloc[0]
    for column, (group, name) in zip(axes.T, GROUPS.items(), strict=True):
        mine = table[table.category == group]
        _ours(column[0], mine, 100 * none[f"oracle_prompt_{group}"])
        column[0].set_title(name)
        column[1].plot(RATES, PAPER[group], "-o", color=PAPER_COLOR, lw=1.4, ms=5)
        for x, y in zip(RATES, PAPER[group], strict=True):
            column[1].annotate(f"{y:.1f}", (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8,
                               path_effects=HALO)  # fmt: skip
        column[1].set_xlabel("dropout rate")
        column[1].set_xticks(RATES)
        column[1].set_xlim(0.02, 0.78)
    for row, label in zip(axes, ("ours, whole prompts (x 100)", "paper, score (x 100)"), strict=True):
        row[0].set_ylabel(label)
    axes[1, 0].set_ylim(21.5, 32.5)
    _names(axes[0, 2], table[table.category == list(GROUPS)[-1]])
    finish(figure, table, out, notes(table, grid))


def _ours(ax: Any, mine: pd.DataFrame, none: float) -> None:
    ax.axhline(none, color=GREY, lw=1.0, ls=(0, (5, 3)), zorder=1)
    for i, metric in enumerate(LINES):
        rows = mine[mine.metric == metric]
        ax.plot(rows.rate, 100 * rows.value, color=COLORS[i], ls=DASHES[i], marker=MARKERS[i], ms=5.5, lw=1.6, zorder=3)
        if metric == "best_of_n":
            ax.vlines(rows.rate, 100 * rows.low, 100 * rows.high, color=COLORS[i], lw=0.9, alpha=0.6)
            for x, y in zip(rows.rate, 100 * rows.value, strict=True):
                ax.annotate(f"{y:.1f}", (x, y), (3, 6), textcoords="offset points", ha="left", fontsize=8,
                            path_effects=HALO, zorder=5)  # fmt: skip


def _names(ax: Any, mine: pd.DataFrame) -> None:
    """Names at the right ends of the lines, apart where these are near each other."""
    ends = sorted((100 * mine[mine.metric == metric].value.iloc[-1], i) for i, metric in enumerate(LINES))
    step, place = 0.095 * (ax.get_ylim()[1] - ax.get_ylim()[0]), -1e9
    for y, i in ends:
        place = max(y, place + step)
        ax.annotate(list(LINES.values())[i], (0.7, y), (0.83, place), textcoords="data", color=COLORS[i], va="center",
                    fontsize=8.5, annotation_clip=False)  # fmt: skip


def notes(table: pd.DataFrame, grid: pd.DataFrame) -> list[str]:
    """What was measured, and whether the best rate is the paper's."""
    counts = table.drop_duplicates("category")
    lines = [
        f"ShapeWorld, continuous LMM, base: {table.samples.iloc[0]} samples of each prompt, DivDrop in the last"
        f" {table.layers.iloc[0]} layers, decoder noise: one a {grid.noise.iloc[2]};"
        f" {', '.join(map(str, counts.prompts))} held-out prompts; one seed: not a claim.",
        "Bars: 95 % with other prompts. Dashed grey: without dropout. A run has one sample of every prompt. The paper"
        " does not say what is best of ten:",
        f"    its {PAPER['attribute'][1]} is also the maximum of a box in its Figure 5, as if it were the best of ten"
        " runs.",
    ]
    for metric, what in (("best_of_n", "best of ten a prompt"), ("best_run", "best of ten runs")):
        places = []
        for group in GROUPS:
            mine = table[(table.category == group) & (table.metric == metric)]
            ours, theirs = (float(mine.rate.iloc[mine[c].to_numpy().argmax()]) for c in ("value", "paper"))
            places.append(f"{ours:g} ({theirs:g})" + ("" if ours == theirs else ", disagrees"))
        lines.append(f"Best rate of the {what} (the paper's): {'; '.join(places)}.")
    return lines


if __name__ == "__main__":
    options = {
        "measured": {"type": Path, "help": "csv of silmm divdrop-grid"},
        "layers": {"type": int, "help": "DivDrop's number of last layers to draw"},
    }
    main(draw, __doc__, options)
