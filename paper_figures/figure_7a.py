"""Figure 7a: beta of the discrete LMM's DPO, by group of categories, after one iteration.

Ours are shares of ShapeWorld's prompts that the oracle finds satisfied in full; the paper's are SEED-LLaMA's scores on
T2I-CompBench++, read off its figure. Both have the same betas.
"""

from __future__ import annotations

from pathlib import Path

from common import Results, finish, main, only, runs_note, verdict
from panels import SCALES, by_group, group_panels

# {arm: (beta, the paper's scores by group)}
ARMS = {
    "beta_005": (0.05, (38.3, 21.7, 29.9, 26.9)),
    "beta_010": (0.1, (37.6, 24.1, 29.9, 26.8)),
    "silmm": (0.2, (36.7, 23.7, 29.9, 26.2)),
    "beta_040": (0.4, (34.2, 24.0, 29.9, 26.1)),
    "beta_080": (0.8, (29.2, 24.7, 29.9, 25.8)),
}


def draw(results: Results, out: Path) -> None:
    """Draw a panel a group."""
    lmm = only(results, "discrete")
    data = by_group(results, lmm, ARMS)
    figure, _ = group_panels(data, "beta", {f"{beta:g}": beta for beta, _ in ARMS.values()}, log=True)
    gains = data.pivot(index="setting", columns="category", values="gain")
    claims = {
        "the smallest beta gains most of attribute": gains.attribute.idxmax() == gains.index.min(),
        "the largest beta gains least of attribute": gains.attribute.idxmin() == gains.index.max(),
        "the smallest beta gains least of layout": gains.layout.idxmin() == gains.index.min(),
    }
    notes = [f"{runs_note(results, lmm)}, one iteration.", *verdict(claims), SCALES]
    finish(figure, data, out, notes)


if __name__ == "__main__":
    main(draw, __doc__)
