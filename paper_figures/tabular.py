"""What the scripts for tables share: cells of text as a picture and as LaTeX, and arms beside the paper's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from common import GROUPS, Results, check_arms, finish, percent, point, with_interval

from silmm.atomic import atomic_file
from silmm.outputs import check_file
from silmm.report.entries import BASE
from silmm.report.style import GREY, INK

TABULAR = b"\\begin{tabular}{l"


class Table(NamedTuple):
    """Cells as text: names left, numbers right; the head may have two lines; thin rules above the rows `rules`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    rules: Sequence[int]


def arms_beside_paper(
    results: Results, lmm: str, rows: Mapping[str, tuple[str, Sequence[float]]], rules: Sequence[int]
) -> tuple[Table, pd.DataFrame]:
    """A row an arm after its first iteration: {arm: (name, the paper's scores by group)}, the base among them.

    Returns:
        the table (scores by group, ours and the paper's, and our gain in `core`), and its numbers, a row a cell.
    """
    check_arms(results, lmm, rows)
    cells, numbers = [], []
    for arm, (name, paper) in rows.items():
        found = {group: point(results, lmm, arm, group) for group in GROUPS}
        core = point(results, lmm, arm, "core")
        gain = "" if arm == BASE else with_interval(core.gain, core.low, core.high)
        cells.append([name, *(percent(p.value) for p in found.values()), gain, *(f"{p:.2f}" for p in paper)])
        for (group, p), known in zip(found.items(), paper, strict=True):
            numbers.append({"arm": arm, "name": name, "category": group, **p._asdict(), "paper": known})
        numbers.append({"arm": arm, "name": name, "category": "core", **core._asdict()})
    ours, theirs = ([f"{name},\n{whose}" for name in GROUPS.values()] for whose in ("ours", "paper"))
    return Table(["", *ours, "core gain,\nours (95 %)", *theirs], cells, rules), pd.DataFrame(numbers)


def group_means(numbers: pd.DataFrame) -> pd.DataFrame:
    """Of `arms_beside_paper`'s numbers: columns value and paper, the mean of the four groups, an arm a row."""
    chosen = numbers[(numbers.category != "core") & (numbers.arm != BASE)]
    return chosen.groupby("arm", sort=False)[["value", "paper"]].mean()


def finish_table(table: Table, data: pd.DataFrame, out: Path, notes: Sequence[str]) -> None:
    """Write a table as a picture, as LaTeX, and the numbers behind it."""
    tex = out.with_name(f"{out.name}.tex")
    check_file(tex, TABULAR)
    finish(_picture(table), data, out, notes)
    with atomic_file(tex, TABULAR) as temporary:
        temporary.write_text(latex(table, notes), encoding="utf-8")


def _picture(table: Table) -> Any:
    lines = (table.head, *table.rows)
    widths = [max(len(part) for line in lines for part in line[i].split("\n")) + 2 for i in range(len(table.head))]
    top = 1 + 0.6 * max(cell.count("\n") for cell in table.head)  # the head's height in rows
    size = (max(6.5, 0.085 * sum(widths)), 0.24 * (top + len(table.rows)) + 0.1)
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.set(xlim=(0, sum(widths)), ylim=(len(lines), 1 - top))
    axes.axis("off")
    for y, line in enumerate(lines):
        for i, text in enumerate(line):
            x, side = (sum(widths[: i + 1]) - 1, "right") if i else (0, "left")
            middle = y + 0.5 if y else 1 - top / 2
            axes.text(x, middle, text, ha=side, va="center", weight="normal" if y else "bold", fontsize=8.5)
    for rule in (1 - top, 1, len(lines)):
        axes.axhline(rule, color=INK, lw=0.9, clip_on=False)
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
    special |= {"\n": " "}
    special |= {character: f"\\{character}" for character in "%_&#${}"}
    special |= {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + " \\\\"
