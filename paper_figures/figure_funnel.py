"""Funnel: what became of prompts, images, questions and pairs in every iteration of the main arms.

The paper gives the ends of it (16 000 prompts, N images each); what is lost on the way it does not.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from steps import columns, main
from tabular import Table, finish_table

from silmm.report.entries import Step
from silmm.report.funnel import STEPS, funnel

SHARES = (
    ("prompts kept", ("prompts_kept",), "prompts_drafted"),
    ("pairs kept", ("pairs_kept",), "pairs_drafted"),
    ("lost as ties or small gaps", ("pairs_tie", "pairs_small_gap"), "pairs_drafted"),
)


def draw(steps: list[Step], out: Path) -> None:
    """Write the table: a step a row, an iteration a column, means over seeds."""
    data = funnel(steps)
    means = data.groupby(["lmm", "iteration", "step"], sort=False)["count"].mean()
    runs = columns(data)
    counted = {name: text for name, text in STEPS.items() if name in set(data.step)}
    rows = [
        [f"   {text[1:]}" if text[0] == " " else text, *(_cell(means.get((*run, name))) for run in runs)]
        for name, text in counted.items()
    ]
    rules = [i for i, name in enumerate(counted) if name in ("images_drawn", "questions_kept", "images_scored")]
    rules.append(list(counted).index("pairs_drafted"))
    head = ["", *(f"{lmm} {t}" for lmm, t in runs)]
    finish_table(Table(head, rows, rules), data, out, [_seeds(data), *_notes(means, runs)])


def _cell(count: float | None) -> str:
    """A mean; a dash for a reason that drafts of this LMM's world are not dropped for."""
    return "–" if count is None else f"{count:,.0f}"


def _seeds(data: pd.DataFrame) -> str:
    seeds = data.seed.nunique()
    many = "One seed: not a claim" if seeds == 1 else f"Means of {seeds} seeds"
    arms = ", ".join(data.arm.unique())
    return f"Main arm ({arms}); indented: what was lost, or the pictures of an image with other noise. {many}."


def _notes(means: pd.Series, runs: list[tuple[str, int]]) -> list[str]:
    """How the shares change from the first iteration to the last."""
    lines = []
    for lmm in dict.fromkeys(lmm for lmm, _ in runs):
        mine = [run for run in runs if run[0] == lmm]
        ends = dict.fromkeys((mine[0], mine[-1]))
        found = []
        for text, parts, whole in SHARES:
            values = [100 * sum(means[(*run, part)] for part in parts) / means[(*run, whole)] for run in ends]
            found.append(f"{text} {' to '.join(f'{value:.0f} %' for value in values)}")
        lines.append(f"{lmm}, of what was drafted, first to last iteration: {', '.join(found)}.")
    return lines


if __name__ == "__main__":
    main(draw, __doc__)
