"""The three panels of the main figure; `silmm.report.accuracy` says what they show and hands them their numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from silmm.report.entries import MAIN, UNTRAINED
from silmm.report.labels import End, Labels
from silmm.report.style import GREY, INK
from silmm.report.tables import words
from silmm.shapeworld.language import CORE, SUBCATEGORIES

# Okabe and Ito's palette: told apart in every common colour blindness, and in grey by lightness for the main arm.
MAIN_COLOR, UNTRAINED_COLOR = "#0072B2", "#444444"
COLORS = {"kc_dpo": "#56B4E9", "dpo": "#D55E00", "sft": "#009E73", "random_score": "#CC79A7"}
SPARE = ("#E69F00", "#8C6D1F", "#6A51A3", "#000000")
DASHES = (0, (3.5, 2))


class Look(NamedTuple):
    """How an arm is drawn."""

    name: str
    color: str
    main: bool
    trained: bool


def looks(groups: dict[str, tuple[str, ...]], roles: dict[str, str]) -> dict[str, Look]:
    """A Look for each group of arms with the same numbers (`tables.alike`); arms unknown here get spare colours."""
    spare = [arm for arm in groups if roles[arm] not in (MAIN, UNTRAINED) and arm not in COLORS]
    found = {}
    for arm, same in groups.items():
        color = COLORS.get(arm) or (SPARE[spare.index(arm) % len(SPARE)] if arm in spare else "")
        color = {MAIN: MAIN_COLOR, UNTRAINED: UNTRAINED_COLOR}.get(roles[arm], color)
        name = " = ".join(words(one) for one in same)
        found[arm] = Look(name, color, roles[arm] == MAIN, roles[arm] != UNTRAINED)
    return found


def signed(number: float) -> str:
    """`+0.12`, with the minus sign that axes have."""
    return f"{number:+z.2f}".replace("-", "\N{MINUS SIGN}")


# --- 1. by iteration ----------------------------------------------------------------------------------------------


def draw_iterations(ax: Any, data: pd.DataFrame, beside: pd.DataFrame, arms: dict[str, Look]) -> None:
    """Whole prompts by iteration; `beside`: the main arm again, with images drawn in another way (may be empty)."""
    last = max(1, int(data.iteration.max()))
    edge = last * 1.06
    _frame_iterations(ax, data, beside, last, edge)
    trained = {arm: look for arm, look in arms.items() if look.trained and arm in set(data.arm)}
    offset = {arm: 0.016 * last * (number - (len(trained) - 1) / 2) for number, arm in enumerate(trained)}
    data = data.assign(x=data.iteration + data.arm.map(offset) * (data.iteration > 0))
    paths: list[pd.DataFrame] = []
    ends: list[End] = []
    early: list[End] = []
    for arm, look in trained.items():
        mine = data[data.arm == arm]
        paths += _draw_path(ax, mine, look)
        t, y = mine.iteration.iloc[-1], mine.value.iloc[-1]
        end = data.x[data.iteration == t].max(), y, look.name, look.color  # right of every dot of this iteration
        (ends if t == last else early).append(end)
    for row in data[[not arms[arm].trained for arm in data.arm]].itertuples():
        look, path = arms[row.arm], pd.DataFrame({"x": [-0.1 * last, edge], "y": row.value})
        ax.plot(path.x, path.y, color=look.color, lw=1.1, ls=(0, (6, 3)), zorder=2)
        ax.fill_between(path.x, row.ci_low, row.ci_high, color=look.color, alpha=0.08, lw=0, zorder=1)
        paths += [path]
        ends.append((edge, row.value, f"{look.name},\nno training", look.color))
    if len(beside):
        color = arms[beside.arm.iloc[0]].color
        ax.plot(beside.iteration, beside.value, color=color, lw=1.2, ls=DASHES, zorder=3)
        ax.plot(beside.iteration, beside.value, "o", mfc="white", mec=color, ms=3.5, zorder=4)
        paths += [beside[["iteration", "value"]]]
        ends.append((beside.iteration.iloc[-1], beside.value.iloc[-1], words(beside.sampler.iloc[0]), color))
    labels = Labels(ax, paths)
    labels.column(edge + 0.03 * last, ends)
    base = data[data.iteration == 0].value
    if len(base):
        ax.plot(0, base.iloc[0], "o", color=INK, ms=6, zorder=6)
        labels.add(0, base.iloc[0], "base", INK)
    for end in early:
        labels.add(*end)


def _frame_iterations(ax: Any, data: pd.DataFrame, beside: pd.DataFrame, last: int, edge: float) -> None:
    """Limits, ticks and words of the first panel."""
    both = pd.concat([data, beside])
    low, high = both[["value", "ci_low"]].min(axis=None), both[["value", "ci_high"]].max(axis=None)
    # An interval over three seeds may be wider than all else: it gets some room, and is cut off beyond.
    room = 0.15 * (high - low)
    low, high = max(low - room, np.fmin(low, data.t_low.min())), min(high + room, np.fmax(high, data.t_high.max()))
    pad = 0.06 * (high - low) + 0.01
    ax.set_ylim(max(low - pad, 0.0), min(high + pad, 1.0))
    ax.set_xlim(-0.1 * last, last * 1.55)
    ax.set_xticks(range(last + 1))
    ax.locator_params(axis="y", nbins=7)
    ax.spines.bottom.set_bounds(-0.1 * last, edge)
    ax.set_xlabel("iteration", x=0.37)
    ax.set_title("Prompts satisfied in full, by the oracle")
    ax.set_ylabel("share of images (core)")


def _draw_path(ax: Any, mine: pd.DataFrame, look: Look) -> list[pd.DataFrame]:
    """One trained arm with its intervals, thick and thin; returns what labels should keep off."""
    ax.plot(mine.x, mine.value, color=look.color, lw=2.4 if look.main else 1.3, zorder=4 if look.main else 3)
    ax.plot(mine.x[1:], mine.value[1:], "o", color=look.color, ms=6 if look.main else 4.5, zorder=5)
    low, high = ax.get_ylim()
    ax.vlines(mine.x, mine.t_low.clip(low, high), mine.t_high.clip(low, high), color=look.color, lw=0.8, zorder=3)
    for beyond, y, mark in ((mine.t_low < low, low, "v"), (mine.t_high > high, high, "^")):
        ax.plot(mine.x[beyond], [y] * beyond.sum(), mark, color=look.color, ms=4, clip_on=False, zorder=6)
    ax.vlines(mine.x, mine.ci_low, mine.ci_high, color=look.color, lw=2.6, alpha=0.55, zorder=3)
    bars = [pd.DataFrame({"x": bar.x, "y": [bar.ci_low, bar.ci_high]}) for bar in mine.dropna().itertuples()]
    return [mine[["x", "value"]], *bars]


# --- 2. by sub-category -------------------------------------------------------------------------------------------


def draw_categories(ax: Any, data: pd.DataFrame, look: Look) -> None:
    """The main arm's gain in each sub-category, the first iteration to the last."""
    places = {name: -i for i, name in enumerate(SUBCATEGORIES)}
    last, color = int(data.iteration.max()), look.color
    for name, y in places.items():
        mine = data[data.category == name]
        if len(mine) < 2:
            continue
        base, after = mine.iloc[0], mine.iloc[-1]
        ax.plot([base.value, after.value], [y, y], color=color, lw=1.2, alpha=0.6, zorder=2)
        ax.hlines(y, after.ci_low, after.ci_high, color=color, lw=5, alpha=0.25, zorder=1)
        ax.plot(base.value, y, "o", mfc="white", mec=INK, ms=6, zorder=3)
        ax.plot(after.value, y, "o", color=color, ms=6.5, zorder=4)
        gain = signed(after.value - base.value)
        ax.text(1, y, gain, color=color, transform=ax.get_yaxis_transform(), va="center", ha="right")
    hollow = {"mfc": "white", "mec": INK}
    for x, style, text, ink in ((0.03, hollow, "base", INK), (0.24, {}, f"iteration {last}", color)):
        ax.plot(x, 0.99, "o", color=ink, ms=6, transform=ax.transAxes, clip_on=False, **style)
        ax.text(x + 0.03, 0.99, text, color=ink, transform=ax.transAxes, va="center")
    ax.text(1, 0.99, "gain", color=color, transform=ax.transAxes, va="center", ha="right")
    low, high = data[["value", "ci_low"]].min(axis=None), data[["value", "ci_high"]].max(axis=None)
    ax.set_xlim(low - 0.04, high + 0.22 * (high - low) + 0.02)
    ax.set_ylim(-len(places) + 0.4, 0.95)
    ax.locator_params(axis="x", nbins=6)
    ax.set_yticks(list(places.values()), [words(n) + ("" if n in CORE else " *") for n in places])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color="#EEEEEE", lw=0.8, zorder=0)
    ax.set_axisbelow(True)
    ax.set_title(f"Where {look.name} gains")
    ax.set_xlabel("share of images        * not in core")


# --- 3. own score against the oracle ------------------------------------------------------------------------------


def draw_trust(ax: Any, own: pd.DataFrame, oracle: pd.DataFrame, arms: dict[str, Look]) -> None:
    """Each trained arm's path from the base: to the right by its own score, upwards by the oracle's."""
    both = own.merge(oracle, on=["arm", "iteration"], suffixes=("_own", "_oracle"))
    ax.set_title("Own score against the oracle")
    ax.set_xlabel("self-score: mean of p(expected) \N{MINUS SIGN} p(other)")
    ax.set_ylabel(f"share of units that hold ({oracle.category.iloc[0]})" if len(oracle) else "")
    if both.empty:
        ax.text(0.5, 0.5, "no self-score in this summary", transform=ax.transAxes, ha="center", color=GREY)
        return
    wide, tall = (both[c].max() - both[c].min() or 0.1 for c in ("value_own", "value_oracle"))
    ax.set_xlim(both.value_own.min() - 0.22 * wide, both.value_own.max() + 0.36 * wide)
    ax.set_ylim(both.value_oracle.min() - 0.12 * tall, both.value_oracle.max() + 0.12 * tall)
    ax.locator_params(nbins=6)
    trained = [arm for arm in arms if arm in set(both.arm)]
    paths = {arm: both.loc[both.arm == arm, ["value_own", "value_oracle", "iteration"]] for arm in trained}
    labels = Labels(ax, list(paths.values()))
    for arm, path in paths.items():
        _, color, main, _ = arms[arm]
        ax.plot(path.value_own, path.value_oracle, color=color, lw=2.2 if main else 1.2, zorder=4 if main else 3)
        ax.plot(path.value_own[1:], path.value_oracle[1:], "o", color=color, ms=6 if main else 4.5, zorder=5)
    base = both[both.iteration == 0]
    if len(base):
        ax.plot(base.value_own.iloc[0], base.value_oracle.iloc[0], "o", color=INK, ms=6, zorder=6)
        labels.add(base.value_own.iloc[0], base.value_oracle.iloc[0], "base", INK)
    for arm, path in paths.items():
        labels.add(path.value_own.iloc[-1], path.value_oracle.iloc[-1], arms[arm].name, arms[arm].color)
    for row in paths[trained[0]].iloc[1:-1].itertuples():
        labels.add(row.value_own, row.value_oracle, f"{row.iteration}", arms[trained[0]].color)
