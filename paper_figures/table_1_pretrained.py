"""Table 1 of pretrained LMMs: public benchmarks, base and after self-improvement, beside the paper's own rows.

Ours are scores by the published arithmetic (the csv has the corrected one, too, and every interval); a note says by
which judges, and a star marks what does not compare with the paper's. A benchmark that was not judged has dashes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pandas as pd
from common import drawing
from published import DPG_AND_TIFA, PRETRAINED, TABLE_1
from tabular import Table, finish_table

from silmm.cli_options import entry
from silmm.report import table_1
from silmm.report.entries import BASE, Step

Cells = Mapping[tuple[str, str], float]


def draw(steps: Sequence[Step], benchmarks: Sequence[str], out: Path) -> None:
    """Write the table."""
    scores = table_1.scores(steps, benchmarks)
    rows: list[list[str]] = []
    rules, numbers = [], [scores.assign(whose="ours")]
    notes = []
    for lmm in dict.fromkeys(step.lmm for step in steps):
        (last,) = {step.iteration for step in steps if step.lmm == lmm and step.arm != BASE}
        before, after = (table_1.official(scores, lmm, trained) for trained in (False, True))
        rules.append(len(rows))
        rows += _lines(f"{lmm}: base", f"+ SILMM, iteration {last}", before, after, _starred(scores))
        if lmm in PRETRAINED:
            name = PRETRAINED[lmm]
            base, improved = _paper(name)
            rules.append(len(rows))
            rows += _lines(f"{name} (paper): base", "+ SILMM", base, improved)
            numbers += [_rows(name, BASE, base), _rows(name, "silmm", improved)]
        else:
            notes.append(f"The paper has no {lmm}.")
    finish_table(
        Table(["", *table_1.HEAD.values()], rows, rules),
        pd.concat(numbers, ignore_index=True),
        out,
        [*_judged(scores), "One seed: not a claim.", *notes],
    )


def _lines(base: str, trained: str, before: Cells, after: Cells, starred: Set[str] = frozenset()) -> list[list[str]]:
    return [
        [base, *_cells(before, "{:.2f}", starred)],
        [trained, *_cells(after, "{:.2f}", starred)],
        ["gain", *_cells(table_1.gains(before, after), "{:+z.2f}", starred)],
    ]


def _cells(found: Cells, form: str, starred: Set[str]) -> list[str]:
    cells = []
    for column, name in table_1.HEAD.items():
        text = form.format(found[column]).replace("-", "\N{MINUS SIGN}") if column in found else "-"
        cells.append(f"{text}*" if column in found and name in starred else text)
    return cells


def _starred(scores: pd.DataFrame) -> set[str]:
    """The columns that do not compare with the paper's."""
    return {name for names, _, standing in table_1.judges(scores) if not table_1.comparable(standing) for name in names}


def _paper(name: str) -> tuple[Cells, Cells]:
    """The paper's digits by column, base and + SILMM."""
    both = zip(TABLE_1[name][:2], DPG_AND_TIFA[name], strict=True)
    before, after = (dict(zip(table_1.HEAD, (*groups, *others), strict=True)) for groups, others in both)
    return before, after


def _rows(name: str, arm: str, cells: Cells) -> pd.DataFrame:
    """The paper's numbers in the columns of ours."""
    same: dict[str, Any] = {"whose": "paper", "lmm": name, "arm": arm, "variant": "official"}
    return pd.DataFrame([{**same, "benchmark": b, "category": c, "score": value} for (b, c), value in cells.items()])


def _judged(scores: pd.DataFrame) -> list[str]:
    """Who judged which columns, and whether that compares with the paper."""
    lines = []
    for columns, judge, standing in table_1.judges(scores):
        star = "" if table_1.comparable(standing) else " *: not for comparing with the paper's."
        named = ", ".join(name.replace("\n", " ") for name in columns)
        lines.append(f"Ours, {named}: judged by {judge}; {standing}.{star}")
    return lines


def main() -> None:
    """The script's command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = "lmm=L,arm=A,seed=S,iteration=T,dir=D: a base or a policy; D has a folder with scores.csv for each benchmark"
    parser.add_argument("--entry", type=entry, action="append", required=True, metavar="ENTRY", help=text)
    parser.add_argument("--benchmarks", nargs="+", required=True, metavar="NAME", help="which of them")
    parser.add_argument("--out", type=Path, required=True, help="picture to write; .png, .pdf, .csv and .tex")
    args = parser.parse_args()
    with drawing():
        draw([Step(**one) for one in args.entry], args.benchmarks, args.out.with_suffix(""))


if __name__ == "__main__":
    main()
