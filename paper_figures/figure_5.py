"""Figure 5: four ways to make ten representations of a prompt, on the base of the continuous LMM.

A box stands for ten numbers, as in the paper: run k takes sample k of every prompt. The diamond is what a user gets who
keeps the best of a prompt's ten by the LMM's own score. Of the paper's boxes, three numbers were read off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from common import COLORS, PAPER_COLOR, finish, percent
from measured import GROUPS, main

from silmm.errors import InputError
from silmm.records import DIVERSITY, read_table
from silmm.report import stats
from silmm.report.divdrop_grid import GROUPS as MEMBERS
from silmm.report.style import GREY, INK
from silmm.shapeworld.language import SUBCATEGORIES

STRATEGIES = {"rephrase": "Rephrase", "explain": "Explain", "noisy": "Noisy\nDreamEmb", "divdrop": "DivDrop"}
HATCHES = ("", "////", "....", "\\\\\\\\")
PAPER = {("divdrop", "attribute", "max"): 30.7, ("divdrop", "layout", "median"): 22.6,
         ("rephrase", "layout", "median"): 26.6}  # fmt: skip


def numbers(data: pd.DataFrame) -> pd.DataFrame:
    """A row a (strategy, category, metric), for `run` one a sample: value, 95 % over prompts, prompts.

    run: whole prompts of one sample each. mean, best_of_n (by own score), spread (cosine distance of pooled features),
    malformed, texts (different ones a prompt). Categories are plain means of their sub-categories; `all` has eight.
    """
    rows: list[dict[str, Any]] = []
    for (strategy, category), mine in _by_category(data):
        prompts = mine.groupby(["subcategory", "prompt_id"], sort=True)
        best = mine.sort_values(["own_score", "sample"], ascending=[False, True]).drop_duplicates("prompt_id")
        of_prompt = {
            "mean": prompts.whole.mean(),
            "best_of_n": best.set_index(["subcategory", "prompt_id"]).whole.sort_index(),
            "spread": prompts.distance.mean(),
            "malformed": prompts.malformed.mean(),
            "texts": prompts.text.nunique(),
        }
        name = {"strategy": strategy, "category": category}
        for k, run in mine.groupby("sample"):
            value = run.groupby("subcategory").whole.mean().mean()
            rows.append({**name, "metric": "run", "sample": k, "value": value, "prompts": len(run)})
        for metric, values in of_prompt.items():
            strata = [
                stats.measure(part.index.get_level_values(1), part.to_numpy(float), np.ones(len(part)), str(sub))
                for sub, part in values.groupby(level=0)
            ]
            found = stats.mean_of(strata)
            low, high = stats.percentile_interval(found.draws_R)
            rows.append({**name, "metric": metric, "value": found.value, "low": low, "high": high, "prompts": found.n})
    return pd.DataFrame(rows)


def _by_category(data: pd.DataFrame) -> Any:
    for strategy, mine in data.groupby("strategy", sort=False):
        for category, members in (MEMBERS | {"all": SUBCATEGORIES}).items():
            yield (strategy, category), mine[mine.subcategory.isin(members)]


def checked(path: Path) -> pd.DataFrame:
    """The measured table; RecordError or InputError for one that is damaged, or lacks a strategy, prompt or sample."""
    data = read_table(path, DIVERSITY).to_pandas()
    wanted = {"none", *STRATEGIES}
    per = data.groupby(["strategy", "prompt_id"]).size()
    there = {s: per[s] for s in data.strategy.unique()}
    missing = wanted - set(there) or {
        s
        for s in STRATEGIES
        if set(there[s]) != set(there["divdrop"]) or not there[s].index.equals(there["none"].index)
    }
    if missing or set(data.subcategory) != set(SUBCATEGORIES):
        what = f"strategy {sorted(missing)[0]} is not whole" if missing else "sub-categories are missing"
        raise InputError(f"{path}: {what}; delete the file and re-run silmm diversity (rule diversity)")
    return data


def draw(measured: Path, out: Path) -> None:
    """Boxes by group of categories, and a table below them."""
    data = checked(measured)
    table = numbers(data)
    n = int(data["sample"].max()) + 1
    figure = plt.figure(figsize=(9.6, 6.6))
    axes = figure.subplots(1, 3, sharey=True)
    figure.subplots_adjust(left=0.07, right=0.985, top=0.93, bottom=0.44, wspace=0.08)
    for ax, (group, name) in zip(axes, GROUPS.items(), strict=True):
        _panel(ax, table[table.category == group], name, n)
    axes[0].set_ylabel("whole prompts, by the oracle (x 100)")
    _below(figure, table, n)
    prompts = data.prompt_id.nunique()
    notes = [
        f"ShapeWorld, continuous LMM, base: {n} samples of each of {prompts} held-out prompts a strategy, one decoder"
        " noise a prompt; one seed: not a claim.",
        f"Box: {n} runs, run k has sample k of every prompt. Diamond: best of a prompt's {n} by own score (95 % with"
        " other prompts). Dashed: one sample without any strategy.",
        *disagreement(table),
    ]
    finish(figure, table, out, notes)


def disagreement(table: pd.DataFrame) -> list[str]:
    """What the paper's figure shows, and what ours does."""
    runs = table[table.metric == "run"].groupby(["category", "strategy"]).value
    top, middle = runs.max()["attribute"][list(STRATEGIES)], runs.median()["layout"][list(STRATEGIES)]
    place, low = int((top > top.divdrop).sum()) + 1, int((middle < middle.divdrop).sum()) + 1
    says = {name: "agrees" if fits else "disagrees" for name, fits in
            (("top", place == 1), ("low", low == 1), ("pair", middle.divdrop < middle.rephrase))}  # fmt: skip
    theirs = [PAPER[s, "layout", "median"] for s in ("divdrop", "rephrase")]
    return [
        f"Paper: DivDrop has the highest maximum on attributes ({PAPER['divdrop', 'attribute', 'max']}); here its"
        f" maximum is number {place} of {len(top)} from above: {says['top']}.",
        f"Paper: DivDrop has the lowest median on layout; here number {low} of {len(middle)} from below: {says['low']}."
        f" It is below Rephrase's ({theirs[0]} to {theirs[1]}); here {percent(middle.divdrop)} to"
        f" {percent(middle.rephrase)}: {says['pair']}.",
        "No more of the paper's boxes is known in numbers.",
    ]


def _panel(ax: Any, mine: pd.DataFrame, title: str, n: int) -> None:
    ax.set_title(title)
    none = mine[(mine.strategy == "none") & (mine.metric == "mean")].value.iloc[0]
    ax.axhline(100 * none, color=GREY, lw=1.1, ls=(0, (5, 3)), zorder=1)
    for x, strategy in enumerate(STRATEGIES):
        own = mine[mine.strategy == strategy]
        runs = 100 * own[own.metric == "run"].value.to_numpy()
        box = ax.boxplot([runs], positions=[x - 0.12], widths=0.42, patch_artist=True, zorder=3, manage_ticks=False,
                         flierprops={"marker": ".", "markersize": 4})  # fmt: skip
        box["boxes"][0].set(facecolor=COLORS[x], alpha=0.45, hatch=HATCHES[x])
        box["medians"][0].set(color=INK, lw=1.6)
        best = 100 * own[own.metric == "best_of_n"][["value", "low", "high"]].iloc[0]
        ax.vlines(x + 0.28, best.low, best.high, color=INK, lw=0.9, zorder=3)
        ax.plot(x + 0.28, best.value, "D", color=COLORS[x], mec=INK, ms=6, zorder=4)
    ax.set_xticks(range(len(STRATEGIES)), list(STRATEGIES.values()), fontsize=8.5)
    ax.set_xlim(-0.6, len(STRATEGIES) - 0.4)
    ax.tick_params(axis="x", length=0)


def _below(figure: Any, table: pd.DataFrame, n: int) -> None:
    """All eight sub-categories: a row a strategy."""
    head = ["all eight sub-categories", "one sample", f"best of {n}", "feature spread", "malformed", "texts a prompt"]
    every = table[table.category == "all"].set_index(["strategy", "metric"]).value
    ax = figure.add_axes((0.07, 0.155, 0.915, 0.19))
    names = {"none": "no strategy, one sample", **{s: name.replace("\n", " ") for s, name in STRATEGIES.items()}}
    lines = [head]
    for strategy, name in names.items():
        own = every[strategy]
        shares = [percent(own[m]) if m in own else "" for m in ("mean", "best_of_n")]
        cells = [*shares, f"{own.spread:.4f}", percent(own.malformed), f"{own.texts:.1f}"]
        lines.append([name, *cells])
    ax.set(xlim=(0, 1), ylim=(len(lines), 0))
    ax.axis("off")
    for y, line in enumerate(lines):
        for i, text in enumerate(line):
            x, side = (0.25 + 0.75 * i / 5 - 0.01, "right") if i else (0.0, "left")
            ax.text(x, y + 0.5, text, ha=side, va="center", fontsize=8.5, weight="normal" if y else "bold")
    for y in (0, 1, len(lines)):
        ax.axhline(y, color=INK if y != 1 else PAPER_COLOR, lw=0.7, clip_on=False)


if __name__ == "__main__":
    table_of = {"type": Path, "help": "table of silmm diversity"}
    main(draw, __doc__, {"measured": table_of})
