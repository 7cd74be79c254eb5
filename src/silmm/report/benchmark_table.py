"""The scores of one benchmark run: as a CSV that tables of several runs are made of, and as a page to read."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from silmm import csv_files
from silmm.benchmarks.interface import VARIANTS

COLUMNS = (
    "benchmark", "lmm", "variant", "category", "score", "ci_low", "ci_high", "items", "pictures", "judge", "standing",
)  # fmt: skip
OFFICIAL, BY_NAME, ANOTHER = STANDINGS = ("official", "official by its name", "another judge")


class Line(NamedTuple):
    """One number with all that it needs to be compared: a row of scores.csv."""

    benchmark: str
    lmm: str
    variant: str
    category: str
    score: float
    ci_low: float
    ci_high: float
    items: int
    pictures: int
    judge: str
    standing: str


def standing(source: str, official: str) -> str:
    """How a judge stands to the official one: the very one, a folder of its name, whose weights nobody has checked, or
    another one, with whose numbers published ones do not compare.

    source: an id of the hub, with @revision where that is none of the main branch's (anyone may propose those: another
    judge); or the name of a folder of weights. official: an id of the hub, or, for a judge that is none of the hub's,
    its authors' name: nothing that is read here can be that one.
    """
    owner, _, name = official.rpartition("/")
    if not owner:
        return ANOTHER
    if source == official:
        return OFFICIAL
    return BY_NAME if source == name else ANOTHER


def to_csv(lines: Sequence[Line]) -> str:
    """scores.csv; an interval that there is not is empty."""
    return csv_files.to_csv(COLUMNS, lines, ".4f")


def to_markdown(lines: Sequence[Line], about: Mapping[str, Any], warnings: Sequence[str] = ()) -> str:
    """A page: both variants side by side, with intervals, and below it what made them.

    about: names and values of what the numbers hang on, in the order of the page. warnings: what casts doubt on them.
    """
    first = lines[0]
    rows: dict[str, dict[str, Line]] = {}
    for line in lines:
        rows.setdefault(line.category, {})[line.variant] = line
    head = [
        f"# {_cell(first.benchmark)}: {_cell(first.lmm)}",
        "",
        "| category | official | corrected | prompts | pictures | judge |",
        "|---|---|---|---|---|---|",
    ]
    body = [_row(category, both) for category, both in rows.items()]
    foot = [f"- {_cell(name)}: {_cell(value)}" for name, value in about.items()]
    another = any(line.standing.startswith(ANOTHER) for line in lines)
    notes = [
        "Intervals: 95 %, bootstrap over prompts. `official` is the published arithmetic, faults included; `corrected`"
        " has them mended (docs/benchmarks.md).",
    ]
    if ", first " in first.standing:
        notes += ["**A part of the benchmark, for trying out: no numbers to report.**"]
    if another:
        notes += [
            "\\* Another judge than the published one: such a number compares with others of this judge alone, never"
            " with the literature."
        ]
    notes += [f"**Warning: {_cell(warning)}.**" for warning in warnings]
    return "\n".join([*head, *body, "", "\n\n".join(notes), "", *foot]) + "\n"


def _row(category: str, both: Mapping[str, Line]) -> str:
    one = next(iter(both.values()))
    cells = [_value(both[variant]) if variant in both else "-" for variant in VARIANTS]
    mark = "*" if one.standing.startswith(ANOTHER) else ""
    cells += [str(one.items), str(one.pictures), f"{_cell(one.judge)}{mark}"]
    return f"| {_cell(category)} | {' | '.join(cells)} |"


def _value(line: Line) -> str:
    if math.isnan(line.ci_low):
        return f"{line.score:z.2f}"
    return f"{line.score:z.2f} ({line.ci_low:z.2f} to {line.ci_high:z.2f})"


def _cell(value: object) -> str:
    """Text of a file or a user within a Markdown table: neither cell, nor HTML, nor link."""
    text = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\|\[\]`])", r"\\\1", text)
