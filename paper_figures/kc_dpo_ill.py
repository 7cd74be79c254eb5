"""Healthy and ill curves of KC-DPO, a column a run: what docs/reading_kc_dpo.md shows.

    snakemake --cores all --configfile config/kc_dpo_ill.yaml
    python paper_figures/kc_dpo_ill.py --results results/kc_dpo_ill --out docs/images/kc_dpo_ill

writes .png, .pdf, and .csv with every number drawn. The grey lines repeat the healthy run of the first column, so that
each column shows its own scale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from silmm.errors import InputError
from silmm.records import AlignStats, read_json
from silmm.report import tables
from silmm.report.entries import BASE, Step
from silmm.report.kc_dpo_curves import read_steps, smooth
from silmm.report.panels import COLORS, DASHES, GREY, INK, MAIN_COLOR
from silmm.report.style import STYLE, save
from silmm.report.summarize import SUMMARY

HEALTHY, GAMMA = "silmm", "\N{GREEK SMALL LETTER GAMMA}"
RUNS = {
    HEALTHY: "healthy",
    "lr_3e4": "learning rate 3 x",
    "lr_1e3": "learning rate 10 x",
    "random_score": "random labels",
    "gamma_small": f"{GAMMA} too small",
    "gamma_large": f"{GAMMA} too large",
    "sft": "SFT, average",
    "sft_none": "SFT, no pooling",
}
# A row of panels: its title, and its lines with what they are called.
ROWS = (
    ("change of k(H, .)", {"to_chosen": "to the chosen", "to_rejected": "to the rejected"}),
    ("argument of the sigmoid", {"argument": ""}),
    ("share of pairs", {"accuracy": "argument above 0", "saturated": "above 3"}),
    ("drift k(H, Hr)", {"drift": ""}),
)
DASHED = ("to_rejected", "saturated")
NUMBERS = {
    "whole, fresh noise": ("oracle_prompt", "fresh_noise", "core"),
    "whole, constant noise": ("oracle_prompt", "constant_noise", "core"),
    "feature range": ("feature_range", "no_dropout", "core"),
}


def curves(results: Path) -> pd.DataFrame:
    """A row a (arm, step) with all that is drawn, smoothed, and what the page tells of each arm."""
    parts = []
    for arm in RUNS:
        one = Step("continuous", arm, 0, 1, results / "continuous/seed0" / arm / "iter1/ckpt")
        steps = read_steps(one).set_index("step").apply(smooth)
        stats = read_json(one.dir / "align.stats.json", AlignStats)
        parts.append(steps.reset_index().assign(arm=arm, gamma=stats.gamma, spread=stats.spread))
    return pd.concat(parts, ignore_index=True)


def numbers(summary: Path) -> pd.DataFrame:
    """A row an arm, the base first: the metrics of NUMBERS."""
    table = tables.read(summary, SUMMARY)
    table = table[(table.lmm == "continuous") & (table.seed == 0)]
    rows = []
    for arm in (BASE, *RUNS):
        row: dict[str, Any] = {"arm": arm}
        for name, (metric, sampler, category) in NUMBERS.items():
            at = (table.arm == arm) & (table.metric == metric) & (table.sampler == sampler)
            found = table[at & (table.category == category)].value
            if len(found) != 1:
                raise InputError(f"{summary}: no {metric} of {arm} with {sampler}; run all of kc_dpo_ill.yaml")
            row[name] = found.item()
        rows.append(row)
    return pd.DataFrame(rows).set_index("arm")


def draw(ax: Any, data: pd.DataFrame, names: dict[str, str], arm: str) -> None:
    """One panel: the lines of an arm over those of the healthy run."""
    ax.axhline(0, color=GREY, lw=0.6, zorder=0)
    for name in names:
        for who, ink, width in ((HEALTHY, "#BBBBBB", 1.2), (arm, ink_of(arm), 1.8)):
            mine = data[data.arm == who]
            ax.plot(mine.step, mine[name], color=ink, lw=width, ls=DASHES if name in DASHED else "-")
    ax.margins(x=0.02)
    ax.locator_params(axis="y", nbins=4)
    ax.locator_params(axis="x", nbins=3)
    if "accuracy" in names:
        ax.set_ylim(-0.04, 1.04)


def ink_of(arm: str) -> str:
    return MAIN_COLOR if arm == HEALTHY else COLORS["dpo"]


def tell(figure: Any, axes: Any, told: pd.DataFrame) -> None:
    """What each policy came to, below its column; what the lines and numbers are, on the left."""
    for row, (title, names) in zip(axes, ROWS, strict=True):
        styles = [f"{'dashed' if name in DASHED else 'line'}: {text}" for name, text in names.items() if text]
        place = row[0].get_position()
        figure.text(0.008, place.y1, title, va="top", fontweight="bold", fontsize=10)
        figure.text(0.008, place.y1 - 0.03, "\n".join(styles), va="top", color="#666666", linespacing=1.3)
    figure.text(0.008, 0.01, "\n".join(["", *NUMBERS]), linespacing=1.4)
    for n, (arm, row) in enumerate(told.iterrows()):  # the base stands before the columns
        numbers = [f"{row[name]:.3f}" if "whole" in name else f"{row[name]:.2f}" for name in NUMBERS]
        x = axes[0, n - 1].get_position().x0 if n else axes[0, 0].get_position().x0 - 0.045
        ink = ink_of(str(arm)) if n else INK
        figure.text(x, 0.01, "\n".join(["" if n else "base", *numbers]), color=ink, linespacing=1.4)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results folder of config/kc_dpo_ill.yaml")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .png, .pdf and .csv are written")
    args = parser.parse_args()
    data, told = curves(args.results), numbers(args.results / "summary.csv")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(len(ROWS), len(RUNS), figsize=(2.0 * len(RUNS) + 1.9, 8.4), sharex=True)
        figure.subplots_adjust(left=0.155, right=0.995, top=0.945, bottom=0.165, wspace=0.4, hspace=0.22)
        for column, (arm, title) in zip(axes.T, RUNS.items(), strict=True):
            for ax, (_, names) in zip(column, ROWS, strict=True):
                draw(ax, data, names, arm)
            column[0].set_title(title)
            column[-1].set_xlabel("step")
        tell(figure, axes, told)
        save(figure, data.merge(told.reset_index(), how="outer", on="arm"), args.out)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"kc_dpo_ill: error: {error}")
