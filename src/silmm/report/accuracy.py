"""The main figure of an LMM: what the iterations gain, where, and whether its own score can be trusted.

Three panels, one LMM, one sampler; values are means over seeds:

1. Whole-prompt accuracy (`oracle_prompt`, category `core`) by iteration, each arm and the controls. Intervals are 95 %
   of the paired gain over the base, drawn around the value: thick with other prompts, thin with other seeds. For a
   continuous LMM the main arm is drawn a second time, dashed: with one constant decoder noise.
2. The eight sub-categories, base against the main arm's last iteration.
3. The LMM's own score against the oracle's: a path that goes right without going up is reward hacking.

Arms with the same numbers (they share their files) are one line with both names. The counterpart of the paper's
Figures 3 and 4a.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from silmm.errors import InputError
from silmm.outputs import figure_files
from silmm.report import tables
from silmm.report.entries import BASE, UNTRAINED
from silmm.report.panels import Look, draw_categories, draw_iterations, draw_trust, looks
from silmm.report.style import STYLE, save
from silmm.report.summarize import GAINS, SUMMARY
from silmm.shapeworld.language import SUBCATEGORIES

BESIDE = {"fresh_noise": "constant_noise"}  # what the first panel shows dashed beside a sampler
ENDS = ("ci_low", "ci_high", "t_low", "t_high")
NAMES = ("panel", "lmm", "sampler", "metric", "category", "arm", "same_as", "iteration")
COLUMNS = (*NAMES, "value", *ENDS, "seeds")


def points(
    summary: pd.DataFrame, gains: pd.DataFrame, arms: list[str], sampler: str, metric: str, category: str
) -> pd.DataFrame:
    """A row a (arm, iteration) with value and intervals, means over seeds; each trained arm starts at the base.

    Both tables are of one LMM.
    """
    at, gained = (
        t[(t.sampler == sampler) & (t.metric == metric) & (t.category == category)]
        for t in (summary, gains[gains.versus == BASE])
    )
    base = at[at.arm == BASE].value
    rows = []
    for arm in arms:
        mine = gained[gained.arm == arm].sort_values("iteration")
        if len(base) and not (mine.role == UNTRAINED).any():
            rows.append({"arm": arm, "iteration": 0, "value": base.mean()})
        for g in mine.itertuples():
            bars = {name: g.base + getattr(g, name) for name in ENDS}
            rows.append({"arm": arm, "iteration": g.iteration, "value": g.value, **bars})
    found = pd.DataFrame(rows, columns=["arm", "iteration", "value", *ENDS])
    return found.assign(sampler=sampler, metric=metric, category=category)


def run(summary: Path, gains: Path, out: Path, *, lmm: str, sampler: str | None = None) -> None:
    """Draw `out`.png and .pdf (a suffix of `out` is dropped) and write `out`.csv with every number drawn.

    One LMM and one sampler, by default the LMM's own.

    Raises:
        InputError: there is nothing to draw.
    """
    table, gained = tables.read(summary, SUMMARY), tables.read(gains, GAINS)
    known = tables.lmms(table)
    if lmm not in known:
        raise InputError(f"{summary}: no oracle_prompt of an LMM {lmm}; there is {', '.join(known) or 'none at all'}")
    table, gained = (t[t.lmm == lmm] for t in (table, gained))
    sampler = sampler or tables.samplers(table)[0]
    roles = tables.roles(gained)
    main = tables.main_arm(roles, gains)
    groups = tables.alike(table, roles)
    trained = [arm for arm in groups if roles[arm] != UNTRAINED]
    judged = gained[(gained.sampler == sampler) & (gained.metric == "oracle_prompt")]
    if main not in set(judged.arm):
        raise InputError(f"{gains}: no oracle_prompt of {main} (LMM {lmm}) with sampler {sampler}")

    def of(arms: list[str], metric: str, category: str, drawn: str = sampler) -> pd.DataFrame:
        return points(table, gained, arms, drawn, metric, category)

    self_scored = set(table[(table.metric == "self_score") & (table.sampler == sampler)].category)
    category = "core" if "core" in self_scored else "all"
    panels = {
        "iterations": of(list(groups), "oracle_prompt", "core"),
        "beside": of([main], "oracle_prompt", "core", BESIDE.get(sampler, "")),
        "categories": pd.concat([of([main], "oracle_prompt", name) for name in SUBCATEGORIES]),
        "own score": of(trained, "self_score", category),
        "oracle": of(trained, "oracle_question", category),
    }
    seeds = table.seed.nunique()
    numbers = pd.concat([panel.assign(panel=name) for name, panel in panels.items() if len(panel)])
    same = {arm: " ".join(names[1:]) for arm, names in groups.items()}
    numbers = numbers.assign(lmm=lmm, seeds=seeds, same_as=numbers.arm.map(same))

    with plt.rc_context(STYLE):
        figure = _draw(panels, looks(groups, roles), main)
        _caption(figure, lmm, sampler, seeds, len(panels["beside"]) > 0)
        save(figure, numbers[list(COLUMNS)], figure_files(out)[0].with_suffix(""))
        plt.close(figure)


def _draw(panels: dict[str, pd.DataFrame], arms: dict[str, Look], main: str) -> Any:
    """The figure, without its caption."""
    figure, axes = plt.subplots(1, 3, figsize=(13.2, 4.4), width_ratios=(1.3, 1, 1.15))
    figure.subplots_adjust(left=0.05, right=0.985, top=0.8, bottom=0.19, wspace=0.3)
    draw_iterations(axes[0], panels["iterations"], panels["beside"], arms)
    draw_categories(axes[1], panels["categories"], arms[main])
    draw_trust(axes[2], panels["own score"], panels["oracle"], arms)
    return figure


def _caption(figure: Any, lmm: str, sampler: str, seeds: int, dashed: bool) -> None:
    """What the figure is of, above; what the bars are, below."""
    beside = f" (dashed: {tables.words(BESIDE[sampler])})" if dashed else ""
    runs = "one seed: not a claim" if seeds == 1 else f"means of {seeds} seeds"
    head = f"{lmm.capitalize()} LMM, images drawn with {tables.words(sampler)}{beside}; {runs}"
    figure.text(0.012, 0.94, head, fontsize=11)
    thin = "" if seeds == 1 else "; thin: with other seeds (t)"
    note = f"Bars: 95 % of the paired gain over the base, with other prompts (bootstrap){thin}."
    figure.text(0.012, 0.03, note, fontsize=8, color="#666666")
