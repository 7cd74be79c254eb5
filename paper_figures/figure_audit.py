"""Self-feedback audited by the oracle, iteration by iteration of the main arm; not in the paper.

From left to right: is a yes of 0.8 right in 80 % of cases; how often answers are right, by kind of question; how often
the oracle prefers the picture that the score prefers; and own score against the oracle from policy to policy. A policy
that learns to please its judge moves right without moving up.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from audit_numbers import BINS, GAPS, KINDS, of_run
from common import COLORS, MARKERS, finish
from measured import main

from silmm.errors import InputError
from silmm.report.labels import HALO, Labels
from silmm.report.style import GREY, INK

DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1, 1, 1)))
TITLES = ("Calibration", "Right answers", "Right pairs", "Own score, oracle")


def draw(policies: list[list[str]], out: Path) -> None:
    """A row of panels an LMM."""
    runs = {lmm: [Path(folder) for folder in folders] for lmm, *folders in policies}
    for lmm, folders in runs.items():
        if len(folders) < 2:
            raise InputError(f"--policies {lmm}: give the base's folder, and at least one iteration's")
    table = pd.concat([of_run(lmm, folders) for lmm, folders in runs.items()], ignore_index=True)
    height = 3.15 * len(runs) + 0.95 + 0.16 * (1 + 2 * len(runs))
    figure, axes = plt.subplots(len(runs), 4, figsize=(13.2, height), squeeze=False)
    bottom = (0.75 + 0.16 * (1 + 2 * len(runs))) / height
    figure.subplots_adjust(left=0.05, right=0.985, top=1 - 0.55 / height, bottom=bottom, wspace=0.24, hspace=0.38)
    for row, (lmm, mine) in zip(axes, table.groupby("lmm", sort=False), strict=True):
        for ax, panel, title in zip(row, (_calibration, _kinds, _pairs, _path), TITLES, strict=True):
            ax.set_title(f"{str(lmm).capitalize()}: {title[0].lower()}{title[1:]}")
            panel(ax, mine)
    finish(figure, table, out, notes(table))


def _each(mine: pd.DataFrame, part: str) -> Any:
    """Iterations of a part, each with how it is drawn."""
    for t, rows in mine[mine.part == part].groupby("iteration"):
        k = (int(t) - 1) % len(DASHES)
        yield int(t), rows, {"color": COLORS[k], "ls": DASHES[k], "marker": MARKERS[k], "ms": 5, "lw": 1.5}


def _calibration(ax: Any, mine: pd.DataFrame) -> None:
    ax.plot([0, 1], [0, 1], color=GREY, lw=0.9, zorder=1)
    errors = mine[mine.part == "ece"].set_index("iteration").value
    for t, rows, how in _each(mine, "calibration"):
        ax.plot(rows.x, rows.value, **how, zorder=3, label=f"iteration {t} (error {errors[t]:.3f})")
        shares = dict(zip(rows.label, 0.35 * rows.n / rows.n.sum(), strict=True))
        heights = [shares.get(f"{low:.1f}-{high:.1f}", 0.0) for low, high in itertools.pairwise(BINS)]
        ax.stairs(heights, BINS, color=how["color"], ls=how["ls"], lw=0.9, alpha=0.8, zorder=2)
    ax.set(
        xlim=(0, 1),
        ylim=(0, 1.34),
        yticks=[0, 0.2, 0.4, 0.6, 0.8, 1],
        xlabel="confidence in yes (steps: share of answers)",
        ylabel="yes, by the oracle",
    )
    ax.legend(loc="upper left", fontsize=7.5, frameon=False, handlelength=2.6)


def _kinds(ax: Any, mine: pd.DataFrame) -> None:
    there = [kind for kind in KINDS if kind in set(mine[mine.part == "kind"].label)]
    for t, rows, how in _each(mine, "kind"):
        rows = rows.set_index("label").loc[[kind for kind in there if kind in set(rows.label)]]
        x = [there.index(kind) + 0.2 * (t - 2) for kind in rows.index]
        ax.vlines(x, rows.low, rows.high, color=how["color"], lw=1.0)
        ax.plot(x, rows.value, **how | {"ls": "none"}, zorder=3)
        ax.hlines(rows.ceiling, [a - 0.08 for a in x], [a + 0.08 for a in x], color=GREY, lw=1.0, zorder=2)
        ax.hlines(rows.aside, [a - 0.08 for a in x], [a + 0.08 for a in x], color=INK, lw=1.4, zorder=2)
    ax.set_xticks(range(len(there)), there)
    ax.set(ylim=(0.45, 1.02), ylabel="right, by the oracle")
    ax.set_xlabel("kind of question")


def _pairs(ax: Any, mine: pd.DataFrame) -> None:
    for _, rows, how in _each(mine, "pairs"):
        ax.vlines(rows.x, rows.low, rows.high, color=how["color"], lw=1.0, alpha=0.7)
        ax.plot(rows.x, rows.value, **how, zorder=3)
    ax.axhline(0.5, color=GREY, lw=0.9, zorder=1)
    for gap in GAPS[1:-1]:
        ax.axvline(gap, color=GREY, lw=0.4, alpha=0.5, zorder=0)
    low = mine[mine.part == "pairs"].low.min()
    ax.set(ylim=(min(0.45, low - 0.03) if low == low else 0, 1.02), xlabel="gap of own scores in the pair")
    ax.set_ylabel("chosen is better, of decided pairs")


def _path(ax: Any, mine: pd.DataFrame) -> None:
    """Policies as numbers: on held-out prompts, and on the pictures that they drew to be trained on."""
    held = mine[mine.part == "held_out"]
    trained = mine[mine.part == "step_2"].assign(iteration=lambda rows: rows.iteration - 1)
    both = pd.concat([held, trained])
    pad = 0.12 * max(both.x.max() - both.x.min(), both.value.max() - both.value.min())
    ax.set_xlim(both.x.min() - 1.5 * pad, both.x.max() + 1.5 * pad)
    ax.set_ylim(both.value.min() - pad, both.value.max() + pad)
    ax.plot([-1, 1], [0, 1], color=GREY, lw=0.9, zorder=1)
    labels = Labels(ax, [held[["x", "value"]], trained[["x", "value"]]])
    for rows, color, how, name in ((held, INK, "-o", "held-out prompts"), (trained, COLORS[4], "--s", "step 2's own")):
        ax.plot(rows.x, rows.value, how, color=color, lw=1.4, ms=5, zorder=3, mfc="white" if how == "--s" else color)
        for _, row in rows.iterrows():
            labels.add(row.x, row.value, f"{row.iteration:.0f}", color)
        ax.plot([], [], how, color=color, lw=1.4, ms=5, mfc="white" if how == "--s" else color, label=name)
    ax.set(xlabel="own score, mean p(yes) \N{MINUS SIGN} p(no)", ylabel="units that hold, by the oracle")
    legend = ax.legend(
        loc="lower right", fontsize=7.5, frameon=False, title="policies 0 (base), 1, ..", title_fontsize=7.5
    )
    plt.setp(legend.get_texts(), path_effects=HALO)


def notes(table: pd.DataFrame) -> list[str]:
    """Sample sizes, and whether any policy went right without going up."""
    lines = [
        "Bars: 95 % with other prompts. Grey lines: right on average; a coin, for pairs. Ticks at answers: always the"
        " commoner answer (black), the best that one answer a sample can do (grey). One seed: not a claim. Not in the"
        " paper."
    ]
    for lmm, mine in table.groupby("lmm", sort=False):
        counts = {part: mine[mine.part == part].groupby("iteration").n.sum().tolist()
                  for part in ("ece", "pairs", "step_2")}  # fmt: skip
        ties = mine[mine.part == "pairs"]
        alike = (ties.aside * ties.n).sum() / ties.n.sum()
        named = zip(("answers", "pairs", "samples"), counts.values(), strict=True)
        lines.append(
            f"{str(lmm).capitalize()}, by iteration: {'; '.join(f'{name} {_list(n)}' for name, n in named)}. In"
            f" {100 * alike:.0f} % of pairs the oracle finds both alike: these are left out."
        )
        lines.append(f"    {hacking(mine)}")
    return lines


def hacking(mine: pd.DataFrame) -> str:
    """Where own score rises and the oracle's share does not, from policy to policy."""
    found = []
    for part, name, first in (("held_out", "held-out prompts", 0), ("step_2", "step 2's pictures", 1)):
        path = mine[mine.part == part].sort_values("iteration")
        for (_, a), (_, b) in itertools.pairwise(path.iterrows()):
            if b.x > a.x and b.value <= a.value:
                found.append(
                    f"policy {b.iteration - first:.0f} on {name} ({b.x - a.x:+z.3f}, {b.value - a.value:+z.3f})"
                )
    text = "; ".join(found).replace("-0.", "\N{MINUS SIGN}0.") if found else "at no policy"
    return f"Own score up, oracle not (reward hacking): {text}."


def _list(counts: list[Any]) -> str:
    return ", ".join(f"{n:.0f}" for n in counts)


if __name__ == "__main__":
    given = {
        "nargs": "+",
        "action": "append",
        "metavar": ("LMM", "DIR"),
        "help": "an LMM, the folder of its base, and those of its iterations; give one each",
    }
    main(draw, __doc__, {"policies": given})
