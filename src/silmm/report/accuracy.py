"""The main figure: what the iterations gain, where, and whether the policy's own score can be trusted.

Three panels, one LMM, one sampler; values are means over seeds:

1. Whole-prompt accuracy (`oracle_prompt`, category `core`) by iteration, each arm and the controls. Intervals are 95 %
   of the paired gain over the base, drawn around the value: thick with other prompts, thin with other seeds.
2. The eight sub-categories, base against the main arm's last iteration.
3. The LMM's own score against the oracle's: a path that goes right without going up is reward hacking.

The counterpart of the paper's Figures 3 and 4a.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from silmm.atomic import atomic_file
from silmm.errors import InputError
from silmm.report.entries import BASE, DEFAULT_SAMPLERS, UNTRAINED, arm_order
from silmm.report.labels import Labels
from silmm.shapeworld.language import CORE, SUBCATEGORIES

# Okabe and Ito's palette: told apart in every common colour blindness, and in grey by lightness for the main arm.
COLORS = {"silmm": "#0072B2", "dpo": "#D55E00", "sft": "#009E73", "random_score": "#CC79A7", "best_of_n": "#444444"}
SPARE = ("#E69F00", "#56B4E9", "#8C6D1F", "#000000")
GREY, INK = "#888888", "#222222"
NAMES = {"silmm": "SILMM", "dpo": "DPO, no anchor", "sft": "SFT", "random_score": "random score"}
STYLE = {
    **{"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.edgecolor": GREY, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "text.color": INK},
    **{"axes.titlesize": 10, "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlepad": 12},
    **{"pdf.fonttype": 42, "xtick.major.size": 3, "ytick.major.size": 3, "savefig.dpi": 160},
}


def color_of(arm: str, arms: list[str]) -> str:
    others = [a for a in arms if a not in COLORS]
    return COLORS[arm] if arm in COLORS else SPARE[others.index(arm) % len(SPARE)]


def title(arm: str) -> str:
    return NAMES.get(arm, arm.replace("_", " "))


def points(summary: pd.DataFrame, gains: pd.DataFrame, arms: list[str], metric: str, category: str) -> pd.DataFrame:
    """A row a (arm, iteration) with value and intervals, means over seeds; each trained arm starts at the base."""
    at = summary[(summary.metric == metric) & (summary.category == category)]
    means = at.groupby(["arm", "iteration"]).value.mean()
    gained = gains[(gains.versus == BASE) & (gains.metric == metric) & (gains.category == category)]
    rows = []
    for arm in arms:
        if arm not in UNTRAINED and (BASE, 0) in means:
            rows.append({"arm": arm, "iteration": 0, "value": means[BASE, 0]})
        for g in gained[gained.arm == arm].sort_values("iteration").itertuples():
            bars = {name: g.base + getattr(g, name) for name in ("ci_low", "ci_high", "t_low", "t_high")}
            rows.append({"arm": arm, "iteration": g.iteration, "value": g.value, **bars})
    columns = ["arm", "iteration", "value", "ci_low", "ci_high", "t_low", "t_high"]
    return pd.DataFrame(rows, columns=columns).assign(metric=metric, category=category)


def draw_iterations(ax: Any, data: pd.DataFrame, arms: list[str]) -> None:
    last = max(1, int(data.iteration.max()))
    low, high = data[["value", "ci_low", "t_low"]].min(axis=None), data[["value", "ci_high", "t_high"]].max(axis=None)
    pad = 0.08 * (high - low) + 0.01
    ax.set_ylim(max(low - pad, 0.0), min(high + pad, 1.0))  # shares: an interval over seeds may reach beyond
    ax.set_xlim(-0.1 * last, last * 1.45)
    ax.set_xticks(range(last + 1))
    ax.locator_params(axis="y", nbins=7)
    ax.spines.bottom.set_bounds(-0.1 * last, last * 1.05)
    ax.set_xlabel("iteration", x=0.4)
    ax.set_title("Prompts satisfied in full, by the oracle")
    ax.set_ylabel("share of images (core)")
    trained = [a for a in arms if a not in UNTRAINED]
    paths, ends = [], []
    for number, arm in enumerate(trained):
        mine, color, main = data[data.arm == arm], color_of(arm, arms), number == 0
        x = mine.iteration + 0.016 * last * (number - (len(trained) - 1) / 2) * (mine.iteration > 0)
        ax.plot(x, mine.value, color=color, lw=2.4 if main else 1.3, zorder=4 if main else 3)
        ax.plot(x[1:], mine.value[1:], "o", color=color, ms=6 if main else 4.5, zorder=5)
        ax.vlines(x, mine.t_low, mine.t_high, color=color, lw=0.8, zorder=3)
        ax.vlines(x, mine.ci_low, mine.ci_high, color=color, lw=2.6, alpha=0.55, zorder=3)
        paths += [pd.DataFrame({"x": x, "y": mine.value})]
        for bar in mine.assign(x=x).dropna(subset=["ci_low"]).itertuples():
            paths += [pd.DataFrame({"x": [bar.x, bar.x], "y": [bar.ci_low, bar.ci_high]})]
        ends.append((x.iloc[-1], mine.value.iloc[-1], title(arm), color))
    for row in data[data.arm.isin(UNTRAINED)].itertuples():
        path, color = pd.DataFrame({"x": [-0.1 * last, last * 1.05], "y": row.value}), color_of(row.arm, arms)
        ax.plot(path.x, path.y, color=color, lw=1.1, ls=(0, (5, 3)), zorder=2)
        ax.fill_between(path.x, row.ci_low, row.ci_high, color=color, alpha=0.08, lw=0, zorder=1)
        paths += [path]
        ends.append((path.x[1], row.value, "best of N,\nno training", color))
    labels = Labels(ax, paths)
    base = data[data.iteration == 0].value
    if len(base):
        ax.plot(0, base.iloc[0], "o", color=INK, ms=6, zorder=6)
        labels.add(0, base.iloc[0], "base", INK)
    for end in ends:
        labels.add(*end)


def draw_categories(ax: Any, data: pd.DataFrame, arm: str, color: str) -> None:
    places = {name: -i for i, name in enumerate(SUBCATEGORIES)}
    last = int(data.iteration.max())
    for name, y in places.items():
        mine = data[data.category == name]
        if len(mine) < 2:
            continue
        base, after = mine.iloc[0], mine.iloc[-1]
        ax.plot([base.value, after.value], [y, y], color=color, lw=1.2, alpha=0.6, zorder=2)
        ax.hlines(y, after.ci_low, after.ci_high, color=color, lw=5, alpha=0.25, zorder=1)
        ax.plot(base.value, y, "o", mfc="white", mec=INK, ms=6, zorder=3)
        ax.plot(after.value, y, "o", color=color, ms=6.5, zorder=4)
        gain = f"{after.value - base.value:+.2f}"
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
    ax.set_yticks(list(places.values()), [n.replace("_", " ") + ("" if n in CORE else " *") for n in places])
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", color="#EEEEEE", lw=0.8, zorder=0)
    ax.set_axisbelow(True)
    ax.set_title(f"Where {title(arm)} gains")
    ax.set_xlabel("share of images        * not in core")


def draw_trust(ax: Any, own: pd.DataFrame, oracle: pd.DataFrame, arms: list[str]) -> None:
    both = own.merge(oracle, on=["arm", "iteration"], suffixes=("_own", "_oracle"))
    ax.set_title("Own score against the oracle")
    ax.set_xlabel("self-score: mean of p(expected) - p(other)")
    ax.set_ylabel(f"share of units that hold ({oracle.category.iloc[0]})" if len(oracle) else "")
    if both.empty:
        ax.text(0.5, 0.5, "no self-score in this summary", transform=ax.transAxes, ha="center", color=GREY)
        return
    wide, tall = (both[c].max() - both[c].min() or 0.1 for c in ("value_own", "value_oracle"))
    ax.set_xlim(both.value_own.min() - 0.22 * wide, both.value_own.max() + 0.36 * wide)
    ax.set_ylim(both.value_oracle.min() - 0.12 * tall, both.value_oracle.max() + 0.12 * tall)
    ax.locator_params(nbins=6)
    trained = [a for a in arms if a in set(both.arm)]
    paths = {arm: both.loc[both.arm == arm, ["value_own", "value_oracle", "iteration"]] for arm in trained}
    labels = Labels(ax, list(paths.values()))
    for number, (arm, path) in enumerate(paths.items()):
        color, main = color_of(arm, arms), number == 0
        ax.plot(path.value_own, path.value_oracle, color=color, lw=2.2 if main else 1.2, zorder=4 if main else 3)
        ax.plot(path.value_own[1:], path.value_oracle[1:], "o", color=color, ms=6 if main else 4.5, zorder=5)
    base = both[both.iteration == 0]
    if len(base):
        ax.plot(base.value_own.iloc[0], base.value_oracle.iloc[0], "o", color=INK, ms=6, zorder=6)
        labels.add(base.value_own.iloc[0], base.value_oracle.iloc[0], "base", INK)
    for arm, path in paths.items():
        labels.add(path.value_own.iloc[-1], path.value_oracle.iloc[-1], title(arm), color_of(arm, arms))
    for row in paths[trained[0]].iloc[1:-1].itertuples():
        labels.add(row.value_own, row.value_oracle, f"{row.iteration}", color_of(trained[0], arms))


def save(figure: Any, data: pd.DataFrame, out: Path) -> None:
    """PNG and PDF without time stamps or version numbers, and the numbers behind them."""
    empty = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
    for suffix, metadata in empty.items():
        with atomic_file(out.with_name(f"{out.name}.{suffix}")) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata)
    with atomic_file(out.with_name(f"{out.name}.csv")) as temporary:
        data.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """A table of `silmm summarize`: names as text (a sampler may have none), the rest as numbers, nan where empty."""
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; run silmm summarize")
    names = ("lmm", "arm", "versus", "sampler", "category", "metric")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    try:
        return table.assign(**{c: pd.to_numeric(table[c]) for c in table if c not in names})
    except ValueError as error:
        raise InputError(f"{path}: not a table of silmm summarize ({error})") from None


def run(summary: Path, gains: Path, out: Path, *, lmm: str | None = None, sampler: str | None = None) -> None:
    """Draw `out`.png and .pdf (a suffix of `out` is dropped) and write `out`.csv with every number drawn.

    One LMM, by default the first of the summary, and one sampler, by default the LMM's own.

    Raises:
        InputError: there is nothing to draw.
    """
    table, gained = read(summary), read(gains)
    judged = table[table.metric == "oracle_prompt"]
    if judged.empty:
        raise InputError(f"{summary}: no oracle_prompt in it")
    lmm = lmm or judged.lmm.iloc[0]
    named = judged[judged.lmm == lmm].sampler
    sampler = sampler or next((name for name in DEFAULT_SAMPLERS if name in set(named)), named.iloc[0])
    table, gained = (t[(t.lmm == lmm) & (t.sampler == sampler)] for t in (table, gained))
    arms = sorted(set(gained.arm), key=arm_order)
    trained = [arm for arm in arms if arm not in UNTRAINED]
    if not trained:
        raise InputError(f"{gains}: no trained arm of LMM {lmm} with sampler {sampler}")

    core = points(table, gained, arms, "oracle_prompt", "core")
    by_category = pd.concat([points(table, gained, trained[:1], "oracle_prompt", c) for c in SUBCATEGORIES])
    category = "core" if "core" in set(table[table.metric == "self_score"].category) else "all"
    own, oracle = (points(table, gained, trained, m, category) for m in ("self_score", "oracle_question"))
    panels = {"iterations": core, "categories": by_category, "own score": own, "oracle": oracle}
    seeds = table.seed.nunique()
    numbers = pd.concat([p.assign(panel=name) for name, p in panels.items() if len(p)])
    numbers = numbers.assign(lmm=lmm, sampler=sampler, seeds=seeds)
    front = ["panel", "lmm", "sampler", "metric", "category", "arm", "iteration"]

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(13.2, 4.4), width_ratios=(1.3, 1, 1.15))
        figure.subplots_adjust(left=0.05, right=0.985, top=0.8, bottom=0.19, wspace=0.3)
        draw_iterations(axes[0], core, arms)
        draw_categories(axes[1], by_category, trained[0], color_of(trained[0], arms))
        draw_trust(axes[2], own, oracle, trained)
        runs = "one seed: not a claim" if seeds == 1 else f"means of {seeds} seeds"
        figure.text(0.012, 0.94, f"{lmm} LMM, images drawn with {sampler}; {runs}", fontsize=11)
        thin = "" if seeds == 1 else "; thin: with other seeds (t)"
        note = f"Bars: 95 % of the paired gain over the base, with other prompts (bootstrap){thin}."
        figure.text(0.012, 0.03, note, fontsize=8, color="#666666")
        stem = out.with_suffix("") if out.suffix in (".png", ".pdf", ".csv") else out
        save(figure, numbers[front + [c for c in numbers if c not in front]], stem)
        plt.close(figure)
