"""Cost: seconds and peak memory of every stage of the main arms, iteration by iteration."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from steps import main
from tabular import Table, finish_table

from silmm.report.cost import LOOP, cost
from silmm.report.entries import Step

ROWS = ("pretrain", *LOOP, "evaluate")


def draw(steps: list[Step], out: Path) -> None:
    """Write the table: a stage a row, an iteration a column, means over seeds."""
    data = cost(steps)
    last = int(data.iteration.max())
    rows, rules = [], []
    for lmm in dict.fromkeys(data.lmm):
        rules += [len(rows), len(rows) + 1 + len(ROWS)]
        rows += _block(data[data.lmm == lmm], lmm, last)
    head = ["seconds", "base", *(f"iteration {t}" for t in range(1, last + 1)), "in all", "peak MiB"]
    finish_table(Table(head, rows, rules), data, out, _notes(data))


def _block(mine: pd.DataFrame, lmm: str, last: int) -> list[list[str]]:
    """The rows of one LMM: its stages, and their sums by iteration."""
    seconds = mine.pivot_table("seconds", "stage", "iteration", "mean").reindex(index=ROWS, columns=range(last + 1))
    peak = mine.groupby("stage").peak_mb.max().reindex(ROWS)
    rows = [[lmm, *[""] * (last + 3)]]
    rows += [[f"   {stage}", *_cells(seconds.loc[stage]), _cell(peak[stage])] for stage in ROWS]
    sums = {"steps 1 to 5": seconds.loc[list(LOOP)], "everything": seconds}
    for text, part in sums.items():
        rows.append([f"   {text}", *_cells(part.sum(min_count=1)), _cell(peak[part.index].max())])
    return rows


def _cells(values: pd.Series) -> list[str]:
    return [*(_cell(value) for value in values), _cell(values.sum(min_count=1))]


def _cell(value: float) -> str:
    if pd.isna(value):
        return "\N{EN DASH}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _notes(data: pd.DataFrame) -> list[str]:
    seeds = data.seed.nunique()
    many = "one run" if seeds == 1 else f"means of {seeds} seeds"
    share = data[data.iteration > 0].groupby("stage").seconds.sum()
    most = ", ".join(f"{stage} {100 * s / share.sum():.0f} %" for stage, s in share.nlargest(3).items())
    return [
        f"Seconds by the clock of one-thread jobs, shards added up, {many}; peak: largest resident set of a job.",
        f"Main arm. Of the iterations' time: {most}.",
        "A base that comes with the repository is copied, not trained. A job that was stopped counts its last part.",
    ]


if __name__ == "__main__":
    main(draw, __doc__)
