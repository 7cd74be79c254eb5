"""Figure 4a: how many prompts self-improvement needs, after one iteration of both LMMs.

Ours are tens to hundreds of prompts where the paper's are 1,000 to 16,000: both are drawn as a share of the largest
number, on a log scale. The score is that of all eight sub-categories together.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from common import Results, agreement, check_arms, finish, lmms, main, point, runs_note, verdict
from panels import GAIN, SCALES, curve, frame, legend, papers
from published import BESIDE, base, overall

# Number of prompts of each arm; `silmm` has all that step 1 wrote.
ARMS = {
    "discrete": {"prompts_20": 20, "prompts_40": 40, "prompts_80": 80, "prompts_160": 160, "silmm": 320},
    "continuous": {"prompts_32": 32, "prompts_64": 64, "prompts_128": 128, "prompts_256": 256, "silmm": 512},
}
PAPER_PROMPTS = (1000, 2000, 4000, 8000, 16000)
PAPER = {"discrete": (27.4, 27.8, 28.1, 28.6, 29.6), "continuous": (24.4, 24.35, 25.0, 26.0, 29.4)}


def draw(results: Results, out: Path) -> None:
    """Draw a panel an LMM."""
    found = lmms(results)
    size = (4.6 * len(found), 3.4)
    figure, axes = plt.subplots(1, len(found), figsize=size, layout="constrained", squeeze=False, sharey=True)
    tables, notes = [], []
    for ax, lmm in zip(axes[0], found, strict=True):
        data = numbers(results, lmm)
        tables.append(data)
        papers(ax, data.share, data.paper_gain)
        curve(ax, data.share, data)
        ax.set_xscale("log", base=2)
        ticks = {
            f"{'1/' if row.share < 1 else ''}{round(1 / row.share)}\n{row.prompts}": row.share
            for row in data.itertuples()
        }
        xlabel = f"prompts: share of the most (here {data.prompts.max()}, paper 16k), number here"
        frame(ax, f"{lmm} LMM; paper: {BESIDE[lmm][0]}", xlabel, ticks)
        order = agreement(list(data.gain), list(data.paper_gain), f"Order of the numbers of prompts, {lmm} LMM")
        claims = {"all prompts gain most": data.gain.idxmax() == data.prompts.idxmax()}
        notes += [f"{runs_note(results, lmm)}.", *order, *verdict(claims, f"{lmm} LMM")]
    axes[0][0].set_ylabel(GAIN)
    legend(figure, axes[0][0])
    notes.append("Fewer prompts are fewer steps, too: the passes over their pairs are as many.")
    finish(figure, pd.concat(tables), out, [*notes, SCALES])


def numbers(results: Results, lmm: str) -> pd.DataFrame:
    """A row an arm: our gain over all sub-categories, and the paper's in points."""
    check_arms(results, lmm, ARMS[lmm])
    rows = []
    for (arm, prompts), paper_prompts, score in zip(ARMS[lmm].items(), PAPER_PROMPTS, PAPER[lmm], strict=True):
        known = {"paper_prompts": paper_prompts, "paper": score, "paper_gain": score - overall(base(lmm))}
        share = prompts / ARMS[lmm]["silmm"]
        p = point(results, lmm, arm, "all")
        rows.append({"lmm": lmm, "arm": arm, "prompts": prompts, "share": share, **p._asdict(), **known})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main(draw, __doc__)
