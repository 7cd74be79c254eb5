"""Table 2: how questions are asked and how answers make a score, after one iteration of the continuous LMM.

The paper's numbers are DreamLLM's on T2I-CompBench++ (scores times 100); ours are shares of ShapeWorld's prompts that
the oracle finds satisfied in full. Prompt-Q asks the prompt itself, Phrase-Q each of its phrases, Self-Q the questions
that the LMM writes; the score is the difference of probabilities but where a row says otherwise.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from common import GROUPS, Results, Table, agreement, finish_table, lmms, main, percent, point, runs_note, signed

ROWS = {
    "base": ("base", (22.94, 23.74, 28.76, 23.01)),
    "prompt_q": ("Prompt-Q", (33.66, 25.93, 28.14, 24.67)),
    "phrase_q": ("Phrase-Q", (34.63, 24.91, 28.01, 25.41)),
    "silmm": ("Self-Q, difference of probabilities", (34.85, 25.51, 28.82, 25.31)),
    "random_score": ("Self-Q, random score", (23.41, 24.81, 28.67, 22.95)),
    "ratio": ("Self-Q, ratio of yes", (25.36, 23.51, 28.73, 24.00)),
}
RULES = (1, 4)


def draw(results: Results, out: Path) -> None:
    """Write the table."""
    (lmm,) = lmms(results)
    ours, theirs = ([f"{name}, {whose}" for name in GROUPS.values()] for whose in ("ours", "paper"))
    rows, numbers = [], []
    for arm, (name, paper) in ROWS.items():
        found = {group: point(results, lmm, arm, group) for group in GROUPS}
        core = point(results, lmm, arm, "core")
        gain = "" if arm == "base" else f"{signed(core.gain)} ({signed(core.low)} to {signed(core.high)})"
        rows.append([name, *(percent(p.value) for p in found.values()), gain, *(f"{p:.1f}" for p in paper)])
        for (group, p), known in zip(found.items(), paper, strict=True):
            numbers.append({"arm": arm, "name": name, "category": group, **p._asdict(), "paper": known})
        numbers.append({"arm": arm, "name": name, "category": "core", **core._asdict()})
    data = pd.DataFrame(numbers)
    groups = data[data.category != "core"]
    strategies = groups[groups.arm != "base"].groupby("arm", sort=False)[["value", "paper"]].mean()
    order = agreement(list(strategies.value), list(strategies.paper), "order of the strategies")
    notes = [f"{runs_note(results, lmm)}, one iteration.", f"Mean of the groups, {order}."]
    finish_table(Table(["", *ours, "core gain (95 %)", *theirs], rows, RULES), data, out, notes)


if __name__ == "__main__":
    main(draw, __doc__)
