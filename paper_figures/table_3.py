"""Table 3: what KC-DPO compares, after one iteration of the continuous LMM.

Features of a picture are pooled over the queries (or not), and two pictures' are compared by a distance. SFT draws the
policy's features to the chosen ones and knows no rejected picture. The paper's numbers are DreamLLM's on
T2I-CompBench++ (scores times 100); ours are shares of ShapeWorld's prompts that the oracle finds satisfied in full.
"""

from __future__ import annotations

from pathlib import Path

from common import Results, agreement, main, only, point, runs_note, verdict
from published import base
from tabular import arms_beside_paper, finish_table, group_means

ROWS = {
    "base": ("base", base("continuous")),
    "sft_none_euclidean": ("SFT, no pooling, Euclidean", (12.25, 0.75, 16.41, 11.71)),
    "sft_none_cosine": ("SFT, no pooling, cosine", (6.95, 0.29, 16.78, 11.48)),
    "sft_avg_euclidean": ("SFT, average, Euclidean", (23.31, 23.89, 28.76, 23.22)),
    "sft": ("SFT, average, cosine", (23.12, 24.20, 28.79, 23.29)),
    "none_euclidean": ("KC-DPO, no pooling, Euclidean", (23.65, 24.34, 28.83, 23.08)),
    "none_cosine": ("KC-DPO, no pooling, cosine", (23.97, 24.11, 28.77, 23.21)),
    "max_euclidean": ("KC-DPO, maximum, Euclidean", (23.79, 24.04, 28.86, 23.92)),
    "max_cosine": ("KC-DPO, maximum, cosine", (29.18, 25.01, 18.72, 12.27)),
    "avg_euclidean": ("KC-DPO, average, Euclidean", (26.75, 24.70, 28.94, 25.12)),
    "silmm": ("KC-DPO, average, cosine", (34.85, 25.51, 28.82, 25.31)),
}
RULES = (1, 5)


def draw(results: Results, out: Path) -> None:
    """Write the table."""
    lmm = only(results, "continuous")
    table, numbers = arms_beside_paper(results, lmm, ROWS, RULES)
    means = group_means(numbers)
    ours = means.value
    ends = [point(results, lmm, f"sft_none_{distance}", "core").high for distance in ("euclidean", "cosine")]
    claims = {
        "average pooling with cosine scores highest": ours.idxmax() == "silmm",
        "cosine scores higher than Euclidean with average pooling": ours["silmm"] > ours["avg_euclidean"],
        "average pooling scores higher than none": ours["silmm"] > ours["none_cosine"]
        and ours["avg_euclidean"] > ours["none_euclidean"],
        "SFT without pooling harms (intervals of core below 0)": max(ends) < 0,
    }
    order = agreement(list(ours), list(means.paper), "Mean of the groups: order of the rows")
    notes = [f"{runs_note(results, lmm)}, one iteration.", *order, *verdict(claims)]
    finish_table(table, numbers, out, notes)


if __name__ == "__main__":
    main(draw, __doc__)
