"""Print the tables of docs/results.md from a study's CSV files.

python paper_figures/study_tables.py --study docs/study
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

SAMPLERS = ("t1.0", "top_p0.9")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def interval(row: pd.Series, low: str, high: str) -> str:
    """`-0.012 to +0.034`, or a dash where there is none (one seed)."""
    return "-" if pd.isna(row[low]) else f"{row[low]:+.3f} to {row[high]:+.3f}"


def gain_table(gains: pd.DataFrame, metric: str) -> str:
    """Every arm and iteration against the base, in `core`, means over seeds."""
    chosen = gains[(gains.versus == "base") & (gains.metric == metric) & (gains.category == "core")]
    rows = []
    for sampler in SAMPLERS:
        for _, r in chosen[chosen.sampler == sampler].iterrows():
            name = (r.arm, str(r.iteration), sampler)
            numbers = (f"{r.base:.3f}", f"{r.value:.3f}", f"{r.gain_abs:+.3f}", f"{100 * r.gain_rel:+.0f} %")
            rows.append((*name, *numbers, interval(r, "ci_low", "ci_high"), interval(r, "t_low", "t_high")))
    head = ("arm", "iteration", "sampler", "base", "value", "gain", "relative", "95 % (prompts)", "95 % (seeds)")
    return table(head, rows)


def category_table(gains: pd.DataFrame, summary: pd.DataFrame, main: str) -> str:
    """The eight sub-categories after the last iteration of the main arm, T = 1."""
    chosen = gains[(gains.versus == "base") & (gains.arm == main) & (gains.metric == "oracle_prompt")]
    chosen = chosen[(chosen.sampler == "t1.0") & (chosen.iteration == chosen.iteration.max())]
    judge = summary[(summary.metric == "vqa_accuracy") & (summary.arm == "base")].groupby("category").value.mean()
    rows = [
        (r.category, f"{r.base:.3f}", f"{r.value:.3f}", f"{r.gain_abs:+.3f}", interval(r, "ci_low", "ci_high"),
         f"{judge.get(r.category, float('nan')):.3f}")
        for _, r in chosen.iterrows()
    ]  # fmt: skip
    return table(("sub-category", "base", "value", "gain", "95 % (prompts)", "VQA of the base"), rows)


def versus_table(gains: pd.DataFrame, main: str) -> str:
    """The main arm against every other arm at the same iteration, whole prompts in `core`."""
    chosen = gains[(gains.versus != "base") & (gains.arm == main) & (gains.metric == "oracle_prompt")]
    chosen = chosen[(chosen.category == "core") & chosen.sampler.isin(SAMPLERS)]
    rows = [
        (r.versus, str(r.iteration), r.sampler, f"{r.gain_abs:+.3f}", interval(r, "ci_low", "ci_high"),
         interval(r, "t_low", "t_high"))
        for _, r in chosen.iterrows()
    ]  # fmt: skip
    return table(("versus", "iteration", "sampler", "difference", "95 % (prompts)", "95 % (seeds)"), rows)


def health_table(summary: pd.DataFrame, main: str) -> str:
    """What must not get worse, by iteration: means over seeds and sub-categories."""
    own = summary[summary.arm.isin(("base", main)) & (summary.category == "all")]
    rows = []
    names = (
        "vqa_accuracy",
        "prompt_valid",
        "malformed",
        "pair_accuracy",
        "question_coverage",
        "self_score",
        "diversity",
    )
    for metric in names:
        for sampler in sorted(own[own.metric == metric].sampler.unique()):
            means = own[(own.metric == metric) & (own.sampler == sampler)].groupby("iteration").value.mean()
            cells = [f"{means[t]:.3f}" if t in means else "-" for t in range(int(own.iteration.max()) + 1)]
            rows.append((metric, sampler, *cells))
    head = ("metric", "sampler", "base", *(f"iteration {t}" for t in range(1, int(own.iteration.max()) + 1)))
    return table(head, rows)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("docs/study"), help="folder with summary.csv and gains.csv")
    parser.add_argument("--main", default="silmm", help="the arm to look at closely")
    args = parser.parse_args()
    summary, gains = pd.read_csv(args.study / "summary.csv"), pd.read_csv(args.study / "gains.csv")
    print("### Whole prompts, category `core`\n")
    print(gain_table(gains, "oracle_prompt"))
    print("### Single questions, category `core`\n")
    print(gain_table(gains, "oracle_question"))
    print(f"### By sub-category (`{args.main}`, last iteration, T = 1)\n")
    print(category_table(gains, summary, args.main))
    print(f"### What DPO adds: `{args.main}` against the other arms\n")
    print(versus_table(gains, args.main))
    print("### Did it forget, did it break\n")
    print(health_table(summary, args.main))


if __name__ == "__main__":
    main()
