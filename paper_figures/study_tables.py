"""Print the tables of docs/results.md from a study's CSV files, LMM by LMM.

python paper_figures/study_tables.py --study docs/study

Values are means over seeds, in category `core` unless said; arms with the same numbers (they share their files) are
one row with both names.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from silmm.errors import InputError
from silmm.report import tables
from silmm.report.entries import BASE
from silmm.report.summarize import GAINS, SUMMARY
from silmm.report.tables import words

OBJECTIVE = {"discrete": "DPO", "continuous": "KC-DPO"}
HEALTH = (
    *("vqa_accuracy", "prompt_valid", "malformed", "pair_accuracy", "question_coverage", "self_score", "diversity"),
)


class Study(NamedTuple):
    """The tables of one LMM."""

    lmm: str
    summary: pd.DataFrame
    gains: pd.DataFrame  # of arms with the same numbers, the first one's rows alone
    names: dict[str, str]
    main: str
    samplers: list[str]


def study(lmm: str, summary: pd.DataFrame, gains: pd.DataFrame, path: Path) -> Study:
    """The rows of one LMM; `path` is where the gains came from."""
    summary, gains = summary[summary.lmm == lmm], gains[gains.lmm == lmm]
    roles = tables.roles(gains)
    main = tables.main_arm(roles, path)
    names = {arm: " = ".join(same) for arm, same in tables.alike(summary, roles).items()}
    kept = gains.arm.isin(names) & (gains.versus.isin(names) | (gains.versus == BASE))
    return Study(lmm, summary, gains[kept], names, main, tables.samplers(summary))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def interval(row: pd.Series, low: str, high: str) -> str:
    """`-0.012 to +0.034`, or a dash where there is none (one seed)."""
    return "-" if pd.isna(row[low]) else f"{row[low]:+z.3f} to {row[high]:+z.3f}"


def percent(share: float, digits: int = 0) -> str:
    """`+58 %`, or a dash where there is nothing to compare with."""
    return "-" if pd.isna(share) else f"{100 * share:+z.{digits}f} %"


def side_by_side(it: Study) -> str:
    """Every arm and iteration against the base, the samplers beside each other: whole prompts, and what pictures are
    like (malformed ones, objects with their drift from the base)."""
    over = it.gains[(it.gains.versus == BASE) & (it.gains.category == "core")]
    cells = {(r.arm, r.iteration, r.metric, r.sampler): r for _, r in over.iterrows()}
    base = {(metric, sampler): r.base for (arm, _, metric, sampler), r in cells.items() if arm == it.main}
    pictures = [(metric, sampler) for metric in ("malformed", "objects") for sampler in it.samplers]
    head, first = ["arm", "iteration"], [BASE, "0"]
    for sampler in it.samplers:
        head += [words(sampler), "gain (95 %, prompts)", "relative"]
        first += [f"{base['oracle_prompt', sampler]:.3f}", "", ""]
    head += [f"{metric}, {words(sampler)}" for metric, sampler in pictures]
    first += [f"{base[what]:.3f}" if what in base else "-" for what in pictures]
    rows = [tuple(first)]
    for arm, t in dict.fromkeys((arm, t) for arm, t, *_ in cells):
        row = [it.names[arm], str(t)]
        for sampler in it.samplers:
            r = cells[arm, t, "oracle_prompt", sampler]
            gain = f"{r.gain_abs:+z.3f} ({interval(r, 'ci_low', 'ci_high')})"
            row += [f"{r.value:.3f}", gain, percent(r.gain_rel)]
        rows.append((*row, *(_picture(cells.get((arm, t, *what))) for what in pictures)))
    return table(tuple(head), rows)


def _picture(row: pd.Series | None) -> str:
    """A share, or a number of objects with its drift from the base; a dash where all pictures are malformed."""
    if row is None:
        return "-"
    return f"{row.value:.3f}" + (f" ({percent(row.gain_rel, 1)})" if row.metric == "objects" else "")


def gain_table(it: Study, metric: str) -> str:
    """Every arm and iteration against the base, in `core`, means over seeds."""
    chosen = it.gains[(it.gains.versus == BASE) & (it.gains.metric == metric) & (it.gains.category == "core")]
    rows = []
    for sampler in it.samplers:
        for _, r in chosen[chosen.sampler == sampler].iterrows():
            name = (it.names[r.arm], str(r.iteration), sampler)
            numbers = (f"{r.base:.3f}", f"{r.value:.3f}", f"{r.gain_abs:+z.3f}", percent(r.gain_rel))
            rows.append((*name, *numbers, interval(r, "ci_low", "ci_high"), interval(r, "t_low", "t_high")))
    head = ("arm", "iteration", "sampler", "base", "value", "gain", "relative", "95 % (prompts)", "95 % (seeds)")
    return table(head, rows)


def category_table(it: Study) -> str:
    """The eight sub-categories after the last iteration of the main arm, default sampler."""
    chosen = it.gains[(it.gains.versus == BASE) & (it.gains.arm == it.main) & (it.gains.metric == "oracle_prompt")]
    chosen = chosen[(chosen.sampler == it.samplers[0]) & (chosen.iteration == chosen.iteration.max())]
    judged = it.summary[(it.summary.metric == "vqa_accuracy") & (it.summary.arm == BASE)]
    judge = judged.groupby("category").value.mean()
    rows = [
        (r.category, f"{r.base:.3f}", f"{r.value:.3f}", f"{r.gain_abs:+z.3f}", interval(r, "ci_low", "ci_high"),
         f"{judge.get(r.category, float('nan')):.3f}")
        for _, r in chosen.iterrows()
    ]  # fmt: skip
    return table(("sub-category", "base", "value", "gain", "95 % (prompts)", "VQA of the base"), rows)


def versus_table(it: Study) -> str:
    """The main arm against every other arm at the same iteration, whole prompts in `core`."""
    chosen = it.gains[(it.gains.versus != BASE) & (it.gains.metric == "oracle_prompt") & (it.gains.category == "core")]
    rows = [
        (r.versus, str(r.iteration), r.sampler, f"{r.gain_abs:+z.3f}", interval(r, "ci_low", "ci_high"),
         interval(r, "t_low", "t_high"))
        for _, pair in chosen.groupby(["iteration", "versus"], sort=False)
        for _, r in pair.sort_values("sampler", key=lambda names: names.map(it.samplers.index)).iterrows()
    ]  # fmt: skip
    return table(("versus", "iteration", "sampler", "difference", "95 % (prompts)", "95 % (seeds)"), rows)


def health_table(it: Study, metrics: tuple[str, ...]) -> str:
    """What must not get worse, by iteration of the main arm: means over seeds and sub-categories."""
    own = it.summary[it.summary.arm.isin((BASE, it.main)) & (it.summary.category == "all")]
    rows = []
    for metric in metrics:
        for sampler in sorted(own[own.metric == metric].sampler.unique()):
            means = own[(own.metric == metric) & (own.sampler == sampler)].groupby("iteration").value.mean()
            cells = [f"{means[t]:.3f}" if t in means else "-" for t in range(int(own.iteration.max()) + 1)]
            rows.append((metric, sampler, *cells))
    head = ("metric", "sampler", "base", *(f"iteration {t}" for t in range(1, int(own.iteration.max()) + 1)))
    return table(head, rows)


def show(it: Study) -> None:
    """Print all tables of one LMM."""
    name = it.names[it.main].replace(" = ", "` = `")
    continuous = it.lmm == "continuous"
    if continuous:
        print("### Both noises side by side, category `core`\n")
        print(side_by_side(it))
    print("### Whole prompts, category `core`\n")
    print(gain_table(it, "oracle_prompt"))
    print("### Single questions, category `core`\n")
    print(gain_table(it, "oracle_question"))
    print(f"### By sub-category (`{name}`, last iteration, {words(it.samplers[0])})\n")
    print(category_table(it))
    print(f"### What {OBJECTIVE[it.lmm]} adds: `{name}` against the other arms\n")
    print(versus_table(it))
    print("### Did it forget, did it break\n")
    print(health_table(it, (*HEALTH, "objects", "feature_range") if continuous else HEALTH))


def main() -> None:
    """Print the tables of every LMM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("docs/study"), help="folder with summary.csv and gains.csv")
    folder = parser.parse_args().study
    try:
        summary, gains = tables.read(folder / "summary.csv", SUMMARY), tables.read(folder / "gains.csv", GAINS)
        known = tables.lmms(summary)
        studies = [study(lmm, summary, gains, folder / "gains.csv") for lmm in OBJECTIVE if lmm in known]
    except InputError as error:
        sys.exit(f"study_tables: error: {error}")
    for it in studies:
        if len(studies) > 1:
            print(f"## The {it.lmm} LMM\n")
        show(it)


if __name__ == "__main__":
    main()
