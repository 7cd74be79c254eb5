"""Asking the yes/no questions of DPG-Bench and DSG-1k about pictures, and what the answers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from silmm.benchmarks.dpg.questions import Question
from silmm.benchmarks.interface import Finding, Item, Row
from silmm.benchmarks.judges.interface import Judges, Query

if TYPE_CHECKING:
    import numpy as np


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Item]) -> list[Finding]:
    """The written answers, and the probabilities of "yes" and "no", to every question of each picture's item."""
    assert judges.vqa is not None
    asked = [[Query(question.text, free=True) for question in item.facts] for item in items]
    answers = judges.vqa.answer(pictures, asked)
    return [
        {"answers": [a.text for a in own], "p_yes": [a.probs[0] for a in own], "p_no": [a.probs[1] for a in own]}
        for own in answers
    ]


def written_yes(questions: Sequence[Question], finding: Finding) -> dict[int, bool]:
    """By question: whether the written answer is "yes" to the letter, which alone the published code counts."""
    return {q.id: answer == "yes" for q, answer in zip(questions, finding["answers"], strict=True)}


def likely_yes(questions: Sequence[Question], finding: Finding) -> dict[int, bool]:
    """By question: whether "yes" is more probable than "no". The published rule takes "Yes", "yes." and "yes, two" for
    a no; a judge that has to choose cannot evade."""
    p_yes, p_no = finding["p_yes"], finding["p_no"]
    return {q.id: p > other for q, p, other in zip(questions, p_yes, p_no, strict=True)}


def rows_of(
    item: Item,
    image: int,
    finding: Finding,
    categories: Sequence[str],
    official: Mapping[int, float],
    corrected: Mapping[int, float],
) -> list[Row]:
    """A row a question, in the order of the file."""
    return [
        Row(item.id, image, str(question.id), category, question.text, "yes", answer, p,
            official[question.id], corrected[question.id])
        for question, category, answer, p in zip(
            item.facts, categories, finding["answers"], finding["p_yes"], strict=True
        )
    ]  # fmt: skip
