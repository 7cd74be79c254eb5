"""Table 2: how questions are asked and how answers make a score, after one iteration of the continuous LMM.

The paper's numbers are DreamLLM's on T2I-CompBench++ (scores times 100); ours are shares of ShapeWorld's prompts that
the oracle finds satisfied in full. Prompt-Q asks the prompt itself, Phrase-Q each of its phrases, Self-Q the questions
that the LMM writes; the score is the difference of probabilities but where a row says otherwise.
"""

from __future__ import annotations

from pathlib import Path

from common import Results, agreement, main, only, runs_note, verdict
from published import base
from tabular import arms_beside_paper, finish_table, group_means

ROWS = {
    "base": ("base", base("continuous")),
    "prompt_q": ("Prompt-Q", (33.66, 25.93, 28.14, 24.67)),
    "phrase_q": ("Phrase-Q", (34.63, 24.91, 28.01, 25.41)),
    "silmm": ("Self-Q, difference of probabilities", (34.85, 25.51, 28.82, 25.31)),
    "random_score": ("Self-Q, random score", (23.41, 24.81, 28.67, 22.95)),
    "ratio": ("Self-Q, ratio of yes", (25.36, 23.51, 28.73, 24.00)),
}
RULES = (1, 4)


def draw(results: Results, out: Path) -> None:
    """Write the table."""
    lmm = only(results, "continuous")
    table, numbers = arms_beside_paper(results, lmm, ROWS, RULES)
    means = group_means(numbers)
    ours = means.value
    claims = {
        "Self-Q scores higher than Prompt-Q and Phrase-Q": ours["silmm"] > ours[["prompt_q", "phrase_q"]].max(),
        "the difference of probabilities scores higher than the ratio": ours["silmm"] > ours["ratio"],
        "random scores gain least": ours.idxmin() == "random_score",
    }
    order = agreement(list(ours), list(means.paper), "Mean of the groups: order of the strategies")
    notes = [f"{runs_note(results, lmm)}, one iteration.", *order, *verdict(claims)]
    finish_table(table, numbers, out, notes)


if __name__ == "__main__":
    main(draw, __doc__)
