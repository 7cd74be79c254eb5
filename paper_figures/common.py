"""What the scripts for the paper's tables and figures share: their options, numbers, notes and looks.

A script reads summary.csv and gains.csv of `silmm summarize`, with the arms that its figure names in the config, puts
the paper's own numbers beside ours, and writes PNG, PDF and the CSV behind them (a table: LaTeX, too).
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd

from silmm.arms import LMMS
from silmm.errors import InputError
from silmm.report import tables
from silmm.report.entries import BASE
from silmm.report.style import STYLE, save
from silmm.report.summarize import GAINS, SUMMARY
from silmm.shapeworld.language import SUBCATEGORIES

GROUPS = {"attribute": "Attribute", "layout": "Layout", "non_spatial": "Non-spatial", "complex": "Complex"}
SAMPLER = {"discrete": "t1.0", "continuous": "fresh_noise"}
METRIC = "oracle_prompt"
RANKED = 8  # things that are in an order: with fewer, p is above 0.1 for most orders
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
    seed_low: float  # the least and the largest gain of a seed: of one seed, its gain
    seed_high: float
    seeds: int


def main(draw: Callable[[Results, Path], None], doc: str | None) -> None:
    """A script's command line: `draw` gets the tables and the path to write to, without suffix."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", type=Path, required=True, help="summary.csv of the figure's arms")
    parser.add_argument("--gains", type=Path, required=True, help="gains.csv of the figure's arms")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; .png, .pdf and .csv go beside it")
    args = parser.parse_args()
    with drawing():
        results = Results(tables.read(args.summary, SUMMARY), tables.read(args.gains, GAINS), args.gains)
        draw(results, args.out.with_suffix(""))


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """What a script draws in: the shared style; an InputError ends the program with one line."""
    try:
        with plt.rc_context(STYLE):
            yield
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: error: {error}")


def lmms(results: Results) -> list[str]:
    """The LMMs of the run, the discrete one first; InputError if there is none."""
    found = [lmm for lmm in LMMS if lmm in set(results.summary.lmm)]
    if not found:
        raise InputError(
            f"{results.path}: no LMM in the summary beside it; run snakemake {results.path.parent.name} again"
        )
    return found


def only(results: Results, lmm: str) -> str:
    """`lmm`, if it is the one LMM of the tables; InputError otherwise."""
    if (found := lmms(results)) != [lmm]:
        raise InputError(f"{results.path}: LMM {', '.join(found)}: this is drawn of the {lmm} LMM alone")
    return lmm


def check_arms(results: Results, lmm: str, wanted: Iterable[str]) -> None:
    """Nothing is left out in silence: the tables have these arms of the LMM (the base apart), no less and no more.

    Raises:
        InputError: an arm is missing, or the script has no place for one.
    """
    found, names = list(dict.fromkeys(results.gains[results.gains.lmm == lmm].arm)), set(wanted) - {BASE}
    if missing := sorted(names - set(found)):
        raise InputError(
            f"{results.path}: no {', '.join(missing)} of the {lmm} LMM: name what is missing in config `figures`, and"
            f" run snakemake {results.path.parent.name}"
        )
    if extra := [arm for arm in found if arm not in names]:
        raise InputError(
            f"{results.path}: {', '.join(extra)} of the {lmm} LMM: the script has no place for it; take it out of"
            " config `figures`, or draw it, too"
        )


def iterations(results: Results, lmm: str, arm: str) -> list[int]:
    """The iterations of an arm that were judged against the base, ascending."""
    found = _rows(results.gains, {"lmm": lmm, "arm": arm, "versus": BASE})
    return sorted({int(t) for t in found.iteration})


def point(
    results: Results, lmm: str, arm: str, category: str, *, iteration: int = 1, metric: str = METRIC,
    sampler: str | None = None, versus: str = BASE,
) -> Point:  # fmt: skip
    """A policy's numbers, its gain that over `versus`; those of the base, with gain 0, for the arm `base`.

    Raises:
        InputError: the run has no such numbers; says which rule makes them.
    """
    sampler = sampler or SAMPLER[lmm]
    wanted = {"lmm": lmm, "sampler": sampler, "category": category, "metric": metric}
    if arm == BASE:
        values = _rows(results.summary, wanted | {"arm": BASE}).value
        if not len(values):
            raise InputError(f"{results.path}: no {metric} of the base of {lmm} ({category}); run snakemake summarize")
        return Point(float(values.mean()), 0.0, 0.0, 0.0, 0.0, 0.0, len(values))
    found = _rows(results.gains, wanted | {"arm": arm, "versus": versus, "iteration": iteration})
    if len(found) != 1:
        raise InputError(
            f"{results.path}: {len(found)} rows for {lmm}/{arm} iteration {iteration} against {versus}, {metric} in"
            f" {category} with {sampler}: expected one; name the arm in config `figures`, and run snakemake"
            f" {results.path.parent.name}"
        )
    row = found.iloc[0]
    value, gain, low, high = (float(row[name]) for name in ("value", "gain_abs", "ci_low", "ci_high"))
    at = {"arm": versus, "iteration": 0 if versus == BASE else iteration}
    before, after = (
        _rows(results.summary, wanted | which).set_index("seed").value
        for which in (at, {"arm": arm, "iteration": iteration})
    )
    by_seed = (after - before).dropna()
    if len(by_seed) != row.seeds:
        raise InputError(
            f"{results.path}: {int(row.seeds)} seeds of {lmm}/{arm} against {versus}, but {len(by_seed)} in the summary"
            f" beside it; run snakemake {results.path.parent.name} again"
        )
    return Point(value, gain, low, high, float(by_seed.min()), float(by_seed.max()), int(row.seeds))


def _rows(table: pd.DataFrame, wanted: dict[str, Any]) -> pd.DataFrame:
    keep = pd.Series(True, index=table.index)
    for name, value in wanted.items():
        keep &= table[name] == value
    return table[keep]


class Pairs(NamedTuple):
    """What the oracle says of an iteration's pairs, mean over seeds."""

    accuracy: float  # of the pairs that it decides, of all sub-categories together: it prefers the chosen picture
    ties: float  # share of all pairs: it finds both pictures alike
    number: float


def pairs_judged(results: Results, lmm: str, arm: str, iteration: int = 1) -> Pairs:
    """The pairs that an arm learned from; a sub-category of which no pair (or no decided one) was left has no row, and
    no weight.

    Raises:
        InputError: the arm has no pairs that were judged.
    """

    def weighed(metric: str) -> pd.DataFrame:
        rows = _rows(results.summary, {"lmm": lmm, "arm": arm, "iteration": iteration, "metric": metric})
        rows = rows[rows.category.isin(SUBCATEGORIES)]
        if not len(rows):
            raise InputError(f"{results.path}: no {metric} of {lmm}/{arm} iteration {iteration}; run silmm evaluate")
        return rows.assign(found=rows.value * rows.n).groupby("seed")[["found", "n"]].sum()

    right, ties = weighed("pair_accuracy"), weighed("pair_ties")
    return Pairs(float((right.found / right.n).mean()), float((ties.found / ties.n).mean()), float(ties.n.mean()))


def agreement(ours: Sequence[float], paper: Sequence[float], what: str, whose: str = "the paper's") -> list[str]:
    """One note on how far our ordering is the paper's, `Order of the rows against the paper's: Spearman +0.62 (p 0.06,
    n = 10).`; none below RANKED, where hardly any correlation could be told from chance."""
    from scipy.stats import spearmanr  # a second's import, which most figures do not need

    if len(ours) < RANKED or len(set(ours)) == 1 or len(set(paper)) == 1:
        return []
    found = spearmanr(ours, paper)
    rho = f"{float(found.statistic):+z.2f}".replace("-", "\N{MINUS SIGN}")
    return [f"{what} against {whose}: Spearman {rho} (p {float(found.pvalue):.2f}, n = {len(ours)})."]


def verdict(claims: Mapping[str, bool], of: str = "") -> list[str]:
    """Notes on what the paper finds: each claim with whether it holds here. `of`: what they are about, if not all.

    A claim that is judged by an interval, and not by the numbers alone, says so itself.
    """
    notes = []
    for head, wanted in (
        ("found here as in the paper (point estimates)", True),
        ("found in the paper, NOT here (point estimates)", False),
    ):
        if held := [claim for claim, holds in claims.items() if holds == wanted]:
            head = f"{of}, {head}" if of else head
            notes.append(f"{head[0].upper()}{head[1:]}: {'; '.join(held)}.")
    return notes


def runs_note(results: Results, lmm: str, category: str = "all") -> str:
    """How many runs and images stand behind the numbers of an LMM in a category (groups and sub-categories: parts of
    `all`)."""
    judged = _rows(results.summary, {"lmm": lmm, "metric": METRIC, "category": category, "sampler": SAMPLER[lmm]})
    seeds = judged.seed.nunique()
    uneven = judged.groupby(["arm", "iteration"]).seed.nunique()
    runs = "one seed: not a claim" if seeds == 1 else f"means of {seeds} seeds"
    if len(uneven) and uneven.min() < seeds:
        runs += f" ({uneven.idxmin()[0]}: {uneven.min()})"
    images = " to ".join(str(int(n)) for n in sorted({judged.n.min(), judged.n.max()}))
    return f"ShapeWorld, {lmm} LMM, {tables.words(SAMPLER[lmm])}; {images} images per policy and seed; {runs}"


def percent(value: float) -> str:
    """A share as the paper prints scores, times 100; a dash for nan."""
    return "\N{EN DASH}" if math.isnan(value) else f"{100 * value:.1f}"


def signed(value: float) -> str:
    """A difference of shares, times 100, with its sign; a dash for nan."""
    if math.isnan(value):
        return "\N{EN DASH}"
    return f"{100 * value:+z.1f}".replace("-", "\N{MINUS SIGN}")


def with_interval(gain: float, low: float, high: float) -> str:
    """A gain, times 100: `+6.4 (+4.5 to +8.3)`."""
    return f"{signed(gain)} ({signed(low)} to {signed(high)})"


def relative(value: float, base: float) -> float:
    """The gain as a share of the base; nan for a base of 0."""
    return (value - base) / base if base else math.nan


def finish(figure: Any, data: pd.DataFrame, out: Path, notes: Sequence[str]) -> None:
    """Write the notes below the figure, then the figure and its numbers.

    A figure with constrained layout grows by the room for them; any other has left it at its bottom.
    """
    width, height = figure.get_size_inches()
    lines = [line for note in notes for line in textwrap.wrap(note, int(17.5 * width))]
    room = 0.16 * len(lines) + 0.12
    if engine := figure.get_layout_engine():
        figure.set_figheight(height + room)
        engine.set(h_pad=0.06, rect=(0, room / (height + room), 1, height / (height + room)))
    for number, line in enumerate(reversed(lines)):
        y = (0.07 + 0.16 * number) / figure.get_figheight()
        figure.text(0.1 / width, y, line, fontsize=7.5, color="#555555", va="bottom")
    save(figure, data, out)
    plt.close(figure)
