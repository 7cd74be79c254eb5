"""Figure 4b: how many pairs a prompt should give, after one iteration of both LMMs.

NxN: of 30 images a prompt, the N best meet the N worst. Optimiser steps are held equal here (config/default.yaml: as
many pairs a prompt are seen, whatever N is), so that N alone differs; the paper does not say. The line across is the
default: fewer images a prompt, and other pairs of them. The score is that of all eight sub-categories together.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from common import (
    COLORS,
    Results,
    agreement,
    check_arms,
    finish,
    lmms,
    main,
    point,
    runs_note,
    signed,
    verdict,
    with_interval,
)  # fmt: skip
from panels import GAIN, SCALES, curve, frame, legend, papers
from published import BESIDE, base, overall

SIZES = (1, 2, 4, 6, 8, 10)
DEFAULT = "silmm"
PAPER = {"discrete": (29.0, 28.0, 28.0, 27.8, 28.1, 27.0), "continuous": (20.6, 28.7, 31.1, 30.4, 31.3, 29.4)}
STEPS = "Optimiser steps are held equal, whatever N is (config/default.yaml); the paper does not say whether its are."


def draw(results: Results, out: Path) -> None:
    """Draw a panel an LMM."""
    found = lmms(results)
    size = (4.6 * len(found), 3.4)
    figure, axes = plt.subplots(1, len(found), figsize=size, layout="constrained", squeeze=False, sharey=True)
    tables, notes = [], []
    for ax, lmm in zip(axes[0], found, strict=True):
        data = numbers(results, lmm)
        tables.append(data)
        sizes, default = data[data.arm != DEFAULT], data[data.arm == DEFAULT].iloc[0]
        places = range(len(SIZES))
        ax.axhspan(100 * default.low, 100 * default.high, color=COLORS[1], alpha=0.12, lw=0)
        ax.axhline(100 * default.gain, color=COLORS[1], lw=1.4, ls=(0, (1, 1.2)), label="default pairs")
        papers(ax, places, sizes.paper_gain)
        curve(ax, places, sizes)
        frame(ax, f"{lmm} LMM; paper: {BESIDE[lmm][0]}", "best N x worst N of 30 images",
              {f"{n}x{n}": place for place, n in zip(places, SIZES, strict=True)})  # fmt: skip
        order = agreement(list(sizes.gain), list(sizes.paper_gain), f"Order of N, {lmm} LMM")
        notes += [f"{runs_note(results, lmm)}.", *order, *_claims(lmm, sizes)]
    axes[0][0].set_ylabel(GAIN)
    legend(figure, axes[0][0])
    finish(figure, pd.concat(tables), out, [*notes, STEPS, SCALES])


def numbers(results: Results, lmm: str) -> pd.DataFrame:
    """A row an arm, the default last: our gain over all sub-categories, and the paper's in points."""
    arms = {f"of_30_{n}x{n}": n for n in SIZES}
    check_arms(results, lmm, [*arms, DEFAULT])
    rows = []
    for (arm, n), score in zip(arms.items(), PAPER[lmm], strict=True):
        known = {"paper": score, "paper_gain": score - overall(base(lmm))}
        rows.append({"lmm": lmm, "arm": arm, "n": n, **point(results, lmm, arm, "all")._asdict(), **known})
    return pd.DataFrame([*rows, {"lmm": lmm, "arm": DEFAULT, **point(results, lmm, DEFAULT, "all")._asdict()}])


def _claims(lmm: str, sizes: pd.DataFrame) -> list[str]:
    """What the paper finds of 1x1, held against our numbers."""
    one, best = sizes.iloc[0], sizes.loc[sizes.gain.idxmax()]
    gain = with_interval(one.gain, one.low, one.high)
    if lmm == "continuous":
        return verdict({f"1x1 harms the continuous LMM (interval below 0; ours {gain})": one.high < 0})
    most = f"ours: {int(best.n)}x{int(best.n)} with {signed(best.gain)}, 1x1 {gain}"
    return verdict({f"1x1 is the best for the discrete LMM ({most})": best.n == 1})


if __name__ == "__main__":
    main(draw, __doc__)
