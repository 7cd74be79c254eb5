"""How KC-DPO trains: one LMM and seed, its arms, iterations side by side; docs/reading_kc_dpo.md says how to read it.

Over the steps of each iteration (faint: the batch; line: running mean over SMOOTH steps):

1., 2. Distances to the chosen and to the rejected features minus their start, k(H, .) - k(Hr, .), for the same pairs.
3. Drift k(H, Hr).
4. The sigmoid's argument, gamma times what the rejected lost more than the chosen (TRL's margin).
5. Accuracy: the share of pairs in which that is above 0.

6. gamma k(Hw, Hl) of each iteration's pairs, 5 to 95 % and the median: the argument's scale.

With summary.csv also, for each policy, in `core`: 7. the distance of its features from the decoder's training range
(dashed: of DivDrop's in step 2, which it learned from), 8. malformed pictures, 9. objects a picture (band: 5 % about
the base).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from silmm.errors import InputError, RecordError
from silmm.outputs import figure_files
from silmm.records import AlignStats, read_json
from silmm.report import tables
from silmm.report.entries import BASE, Step
from silmm.report.panels import DASHES, GREY, INK, Look, looks
from silmm.report.style import STYLE, save
from silmm.report.summarize import SUMMARY

SMOOTH = 9  # steps
STEPS = {
    "to_chosen": "To the chosen: change of k(H, Hw)",
    "to_rejected": "To the rejected: change of k(H, Hl)",
    "drift": "Drift k(H, Hr)",
    "argument": "Argument of the sigmoid",
    "accuracy": "Share of pairs with an argument above 0",
}
LEVELS = {"accuracy": 0.5}  # where nothing has been learned; 0 in the other panels
SPREAD = "Scale of the argument: \N{GREEK SMALL LETTER GAMMA} k(Hw, Hl) of the pairs"
POLICIES = {
    "feature_range": "From the decoder's range (dashed: DivDrop's)",
    "malformed": "Malformed pictures",
    "objects": "Objects a picture",
}
BESIDE = {"feature_range": "step2"}  # the sampler that is drawn dashed
COLUMNS = ("panel", "lmm", "seed", "arm", "iteration", "sampler", "step", "value", "low", "high")


def read_steps(one: Step) -> pd.DataFrame:
    """What the panels 1 to 5 show, a row a step: `step`, the columns of STEPS, and `saturated` (see `kc_dpo`).

    Raises RecordError for a file that is missing, damaged, or not of KC-DPO.
    """
    file = one.dir / "training.jsonl"
    if not file.is_file():
        raise RecordError(f"{file}: no such file; run silmm align")
    gamma = read_json(one.dir / "align.stats.json", AlignStats).gamma
    try:
        log = pd.DataFrame([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()])
        return pd.DataFrame({
            "step": log["step"],
            "to_chosen": 0.0 - log["rewards/chosen"] / gamma,  # a reward is gamma (k(Hr, .) - k(H, .)); no -0
            "to_rejected": 0.0 - log["rewards/rejected"] / gamma,
            "drift": log["drift"],
            "argument": log["rewards/margins"],
            "accuracy": log["rewards/accuracies"].where(log["drift"] > 0),  # no order yet where nothing has moved
            "saturated": log["rewards/saturated"],
        })  # fmt: skip
    except (ValueError, KeyError) as error:
        raise RecordError(f"{file}: not the steps of KC-DPO ({error}); run silmm align again") from None


def steps_table(runs: Sequence[Step]) -> pd.DataFrame:
    """Panels 1 to 5, a row a (panel, arm, iteration, step)."""
    parts = []
    for one in runs:
        long = read_steps(one).melt("step", list(STEPS), "panel", "value")
        parts.append(long.assign(arm=one.arm, iteration=one.iteration))
    return pd.concat(parts, ignore_index=True)


def spread_table(runs: Sequence[Step]) -> pd.DataFrame:
    """Panel 6, a row a (arm, iteration): the median as value, 5 % and 95 % as low and high."""
    rows = []
    for one in runs:
        s = read_json(one.dir / "align.stats.json", AlignStats)
        low, value, high = (s.gamma * k for k in (s.spread_5, s.spread_50, s.spread_95))
        row = {"panel": "spread", "arm": one.arm, "iteration": one.iteration}
        rows.append(row | {"value": value, "low": low, "high": high})
    return pd.DataFrame(rows)


def policies_table(summary: Path, lmm: str, seed: int, arms: Sequence[str]) -> pd.DataFrame:
    """Panels 7 to 9, a row a (metric, sampler, arm, iteration), of the category `core`; an arm starts at the base.

    Drawing is judged with the LMM's default sampler alone. Metrics that the summary lacks are left out.
    """
    table = tables.read(summary, SUMMARY)
    table = table[(table.lmm == lmm) & (table.seed == seed)]
    if table.empty:
        raise InputError(f"{summary}: nothing of the {lmm} LMM with seed {seed}")
    shown = (table.metric == "feature_range") | (table.sampler == tables.samplers(table)[0])
    table = table[shown & table.metric.isin(list(POLICIES)) & (table.category == "core")]
    table = table[table.arm.isin([BASE, *arms])]
    bases = [table[table.arm == BASE].assign(arm=arm) for arm in arms]
    found = pd.concat([*bases, table[table.arm != BASE]])
    return found.rename(columns={"metric": "panel"})[["panel", "sampler", "arm", "iteration", "value"]]


# --- panels -------------------------------------------------------------------------------------------------------


def draw_steps(ax: Any, data: pd.DataFrame, arms: dict[str, Look], level: float = 0) -> None:
    """Lines over the steps (`step`, `value`), the iterations side by side; each starts from its own reference."""
    lengths = data.groupby("iteration").step.max() + 1
    starts = lengths.cumsum() - lengths
    for start in starts.iloc[1:]:
        ax.axvline(start - 0.5, color="#DDDDDD", lw=0.8, zorder=0)
    ax.axhline(level, color=GREY, lw=0.6, zorder=0)
    for (arm, iteration), mine in data.groupby(["arm", "iteration"], sort=False):
        look, x = arms[arm], mine.step + starts[iteration]
        width, order = (2.2, 4) if look.main else (1.2, 3)
        ax.plot(x, mine.value, color=look.color, lw=0.5, alpha=0.3, zorder=2)
        ax.plot(x, smooth(mine.value), color=look.color, lw=width, zorder=order)
    names = [f"iteration {t}" if t == 1 or len(starts) < 3 else f"{t}" for t in starts.index]
    ax.set_xticks(list(starts + lengths / 2), names)
    ax.tick_params(axis="x", length=0)
    ax.margins(x=0.01)
    ax.locator_params(axis="y", nbins=6)


def smooth(values: pd.Series) -> pd.Series:
    """Running mean, centred; shorter at both ends."""
    return values.rolling(SMOOTH, center=True, min_periods=1).mean()


def draw_spread(ax: Any, data: pd.DataFrame, arms: dict[str, Look]) -> None:
    """A bar from 5 to 95 % with a dot at the median, arms beside each other within an iteration."""
    offset = {arm: 0.16 * (n - (len(arms) - 1) / 2) for n, arm in enumerate(arms)}
    for row in data.itertuples():
        look, x = arms[row.arm], row.iteration + offset[row.arm]
        ax.vlines(x, row.low, row.high, color=look.color, lw=4, alpha=0.45, zorder=2)
        ax.plot(x, row.value, "o", color=look.color, ms=6 if look.main else 4.5, zorder=3)
    ax.set_ylim(0, 1.08 * data.high.max())
    ax.set_xlim(0.5, data.iteration.max() + 0.5)
    ax.set_xticks(range(1, int(data.iteration.max()) + 1))
    ax.set_xlabel("iteration")


def draw_policies(
    ax: Any, data: pd.DataFrame, arms: dict[str, Look], beside: str = "", around: float | None = None
) -> None:
    """A value of each policy by iteration, from the base on; `beside`: a sampler that is drawn dashed; `around`: a
    value to stay near, with a band of 5 %."""
    for (arm, sampler), mine in data.sort_values("iteration").groupby(["arm", "sampler"], sort=False):
        look, dashed = arms[arm], sampler == beside
        style = {"color": look.color, "zorder": 4 if look.main else 3}
        width = 2.2 if look.main and not dashed else 1.2
        ax.plot(mine.iteration, mine.value, lw=width, ls=DASHES if dashed else "-", **style)
        hollow = {"mfc": "white"} if dashed else {}
        ax.plot(mine.iteration, mine.value, "o", ms=6 if look.main else 4.5, **style, **hollow)
    ax.set_ylim(0, max(1.12 * data.value.max(), 0.05))
    if around is not None:
        ax.axhspan(0.95 * around, 1.05 * around, color="#EEEEEE", lw=0, zorder=0)
        ax.set_ylim(min(0.85 * around, 0.95 * data.value.min()), max(1.15 * around, 1.05 * data.value.max()))
    ax.set_xticks(range(int(data.iteration.max()) + 1))
    ax.set_xlabel("iteration")


def head(figure: Any, text: str, arms: dict[str, Look]) -> None:
    """The figure's title, and the arms' names beside their colours."""
    inch = 1 / figure.get_figheight()
    figure.text(0.012, 1 - 0.3 * inch, text, fontsize=11)
    lines = [plt.Line2D([], [], color=look.color, lw=2.2 if look.main else 1.2) for look in arms.values()]
    names = [look.name for look in arms.values()]
    place = {"loc": "upper left", "bbox_to_anchor": (0.005, 1 - 0.33 * inch), "frameon": False}
    figure.legend(lines, names, ncol=min(len(lines), 8), labelcolor=INK, fontsize=9, **place)


# --- the figure ---------------------------------------------------------------------------------------------------


def run(runs: Sequence[Step], summary: Path | None, out: Path) -> None:
    """Draw `out`.png and .pdf (a suffix of `out` is dropped) and write `out`.csv with every number drawn.

    Raises:
        InputError: no runs, runs of several LMMs or seeds, a run twice, or a file that is not what it should be.
    """
    lmm, seed = _one(runs)
    roles = {one.arm: one.role for one in runs}
    arms = looks({arm: (arm,) for arm in roles}, roles)
    steps, spread = steps_table(runs), spread_table(runs)
    policies = policies_table(summary, lmm, seed, list(roles)) if summary is not None else None
    rows, lines = 2 if policies is None else 3, -(-len(arms) // 8)
    tall = 2.95 * rows + 0.55 + 0.2 * lines
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, 3, figsize=(13.2, tall))
        top = 1 - (0.75 + 0.2 * lines) / tall
        figure.subplots_adjust(left=0.05, right=0.985, top=top, bottom=0.5 / tall, wspace=0.2, hspace=0.42)
        _draw_alignments(axes, steps, spread, arms)
        if policies is not None:
            _draw_evaluations(axes[2], policies, arms)
        head(figure, f"KC-DPO, {lmm} LMM, seed {seed}", arms)
        tables_drawn = [table for table in (steps, spread, policies) if table is not None]
        numbers = pd.concat(tables_drawn).assign(lmm=lmm, seed=seed).reindex(columns=list(COLUMNS))
        save(figure, numbers, figure_files(out)[0].with_suffix(""))
        plt.close(figure)


def _draw_alignments(axes: Any, steps: pd.DataFrame, spread: pd.DataFrame, arms: dict[str, Look]) -> None:
    for ax, (panel, title) in zip(axes.flat, STEPS.items(), strict=False):
        draw_steps(ax, steps[steps.panel == panel], arms, LEVELS.get(panel, 0))
        ax.set_title(title)
    both = [ax.get_ylim() for ax in axes[0, :2]]
    for ax in axes[0, :2]:
        ax.set_ylim(min(low for low, _ in both), max(high for _, high in both))
    draw_spread(axes[1, 2], spread, arms)
    axes[1, 2].set_title(SPREAD)


def _draw_evaluations(axes: Any, policies: pd.DataFrame, arms: dict[str, Look]) -> None:
    for ax, (panel, title) in zip(axes, POLICIES.items(), strict=True):
        ax.set_title(title)
        mine = policies[policies.panel == panel]
        if len(mine):
            base = mine[mine.iteration == 0].value
            near = panel == "objects" and len(base) > 0
            draw_policies(ax, mine, arms, BESIDE.get(panel, ""), base.iloc[0] if near else None)
        else:
            ax.text(0.5, 0.5, "not in this summary", transform=ax.transAxes, ha="center", color=GREY)


def _one(runs: Sequence[Step]) -> tuple[str, int]:
    """The LMM and seed of all runs."""
    kinds = sorted({(one.lmm, one.seed) for one in runs})
    if len(kinds) != 1:
        found = ", ".join(f"{lmm} seed {seed}" for lmm, seed in kinds) or "nothing"
        raise InputError(f"the curves of one LMM and seed make a figure, not of {found}")
    names = [(one.arm, one.iteration) for one in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"arm {twice[0][0]}, iteration {twice[0][1]} is listed twice")
    return kinds[0]
