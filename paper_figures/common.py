"""What the scripts for the paper's tables and figures share: their options, numbers, notes and looks.

A script reads summary.csv and gains.csv of `silmm summarize`, with the arms that its figure names in the config, puts
the paper's own numbers beside ours, and writes PNG, PDF and the CSV behind them (a table: LaTeX, too).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from scipy.stats import spearmanr

from silmm.atomic import atomic_file
from silmm.errors import InputError
from silmm.report import tables
from silmm.report.entries import BASE
from silmm.report.style import GREY, INK, STYLE, save
from silmm.report.summarize import GAINS, SUMMARY

GROUPS = {"attribute": "Attribute", "layout": "Layout", "non_spatial": "Non-spatial", "complex": "Complex"}
SAMPLER = {"discrete": "t1.0", "continuous": "fresh_noise"}
METRIC = "oracle_prompt"
# Okabe and Ito's palette, in an order that grey tells apart, and a dash and a marker for each.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PAPER_COLOR = "#777777"


class Results(NamedTuple):
    """Two tables of one run, as `silmm.report.tables` reads them."""

    summary: pd.DataFrame
    gains: pd.DataFrame
    path: Path  # of the gains, for messages


class Point(NamedTuple):
    """A policy's metric in a category, mean over seeds, with its gain over the base."""

    value: float
    gain: float
    low: float  # 95 % of the gain, other prompts
    high: float
    seeds: int


def main(draw: Callable[[Results, Path], None], doc: str | None) -> None:
    """A script's command line: `draw` gets the tables and the path to write to, without suffix."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", type=Path, required=True, help="summary.csv of the figure's arms")
    parser.add_argument("--gains", type=Path, required=True, help="gains.csv of the figure's arms")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; .png, .pdf and .csv go beside it")
    args = parser.parse_args()
    try:
        results = Results(tables.read(args.summary, SUMMARY), tables.read(args.gains, GAINS), args.gains)
        with plt.rc_context(STYLE):
            draw(results, args.out.with_suffix(""))
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: error: {error}")


def lmms(results: Results) -> list[str]:
    """The LMMs of the run, in the order of its tables."""
    return list(dict.fromkeys(results.gains.lmm))


def point(
    results: Results, lmm: str, arm: str, category: str, *, iteration: int = 1, metric: str = METRIC,
    sampler: str | None = None,
) -> Point:  # fmt: skip
    """A policy's numbers; those of the base, with gain 0, for the arm `base`.

    Raises:
        InputError: the run has no such numbers; says which rule makes them.
    """
    sampler = sampler or SAMPLER[lmm]
    wanted = {"lmm": lmm, "sampler": sampler, "category": category, "metric": metric}
    if arm == BASE:
        values = _rows(results.summary, wanted | {"arm": BASE}).value
        if not len(values):
            raise InputError(f"{results.path}: no {metric} of the base of {lmm} ({category}); run snakemake summarize")
        return Point(float(values.mean()), 0.0, 0.0, 0.0, len(values))
    found = _rows(results.gains, wanted | {"arm": arm, "versus": BASE, "iteration": iteration})
    if len(found) != 1:
        raise InputError(
            f"{results.path}: {len(found)} rows for {lmm}/{arm} iteration {iteration}, {metric} in {category} with"
            f" {sampler}: expected one; name the arm in config `figures`, and run snakemake {results.path.parent.name}"
        )
    row = found.iloc[0]
    return Point(*(float(row[name]) for name in ("value", "gain_abs", "ci_low", "ci_high")), int(row.seeds))


def _rows(table: pd.DataFrame, wanted: dict[str, Any]) -> pd.DataFrame:
    keep = pd.Series(True, index=table.index)
    for name, value in wanted.items():
        keep &= table[name] == value
    return table[keep]


def agreement(ours: Sequence[float], paper: Sequence[float], what: str = "order") -> str:
    """How far our ordering is the paper's: `order against the paper's: Spearman +0.60 (n = 10)`."""
    if len(ours) < 3 or len(set(ours)) == 1 or len(set(paper)) == 1:
        return f"{what} against the paper's: no ranks to compare (n = {len(ours)})"
    rho = float(spearmanr(ours, paper).statistic)
    return f"{what} against the paper's: Spearman {rho:+.2f} (n = {len(ours)})".replace("-", "\N{MINUS SIGN}")


def runs_note(results: Results, lmm: str) -> str:
    """How many runs and images stand behind the numbers of an LMM."""
    judged = _rows(results.summary, {"lmm": lmm, "metric": METRIC, "category": "all", "sampler": SAMPLER[lmm]})
    seeds = judged.seed.nunique()
    uneven = judged.groupby(["arm", "iteration"]).seed.nunique()
    runs = "one seed: not a claim" if seeds == 1 else f"means of {seeds} seeds"
    if len(uneven) and uneven.min() < seeds:
        runs += f" ({uneven.idxmin()[0]}: {uneven.min()})"
    images = int(judged.n.min())
    return f"ShapeWorld, {lmm} LMM, {tables.words(SAMPLER[lmm])}; {images} images a policy and seed; {runs}"


def percent(value: float) -> str:
    """A share as the paper prints scores, times 100; a dash for nan."""
    return "\N{EN DASH}" if math.isnan(value) else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference of shares, times 100, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def finish(figure: Any, data: pd.DataFrame, out: Path, notes: Sequence[str]) -> None:
    """Write the notes below the figure, then the figure and its numbers."""
    for number, line in enumerate(reversed(notes)):
        figure.text(0.012, 0.02 + number * 0.16 / figure.get_figheight(), line, fontsize=7.5, color="#555555")
    save(figure, data, out)
    plt.close(figure)


class Table(NamedTuple):
    """Cells as text: names left, numbers right; thin rules above the rows with the numbers `rules`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    rules: Sequence[int]


def finish_table(table: Table, data: pd.DataFrame, out: Path, notes: Sequence[str]) -> None:
    """Write a table as a picture, as LaTeX, and the numbers behind it."""
    with atomic_file(out.with_name(f"{out.name}.tex")) as temporary:
        temporary.write_text(latex(table, notes), encoding="utf-8")
    finish(_picture(table, len(notes)), data, out, notes)


def _picture(table: Table, notes: int) -> Any:
    """The table with room for lines of notes below it."""
    lines = (table.head, *table.rows)
    widths = [max(len(line[i]) for line in lines) + 2 for i in range(len(table.head))]
    height = 0.24 * len(lines) + 0.18 * notes + 0.3
    figure = plt.figure(figsize=(max(6.5, 0.085 * sum(widths)), height))
    axes = figure.add_axes((0.012, (0.18 * notes + 0.15) / height, 0.976, 1 - (0.18 * notes + 0.25) / height))
    axes.set(xlim=(0, sum(widths)), ylim=(len(lines), 0))
    axes.axis("off")
    for y, line in enumerate(lines):
        for i, text in enumerate(line):
            x, side = (sum(widths[: i + 1]) - 1, "right") if i else (0, "left")
            axes.text(x, y + 0.5, text, ha=side, va="center", weight="normal" if y else "bold", fontsize=8.5)
    for y in (0, 1, len(lines)):
        axes.axhline(y, color=INK, lw=0.9, clip_on=False)
    for y in table.rules:
        axes.axhline(y + 1, color=GREY, lw=0.5)
    return figure


def latex(table: Table, notes: Sequence[str]) -> str:
    """The table for booktabs, with the notes as comments."""
    lines = [f"% {line}" for line in notes]
    lines += [f"\\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}", "\\toprule", _line(table.head), "\\midrule"]
    for number, row in enumerate(table.rows):
        lines += ["\\midrule"] * (number in table.rules and number > 0)
        lines.append(_line(row))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def _line(cells: Sequence[str]) -> str:
    special = {"\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--", "\N{MULTIPLICATION SIGN}": "$\\times$"}
    special |= {character: f"\\{character}" for character in "%_&#"}
    return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + " \\\\"
