"""From answers to a score for each image (paper section 3.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from silmm.records import PromptQuestions, Question, RecordError


def image_score(questions: Sequence[Question], answers: np.ndarray) -> float:
    """Mean over questions of p(expected) - p(other); answers are (p_yes, p_no) `[Q, 2]`.

    Raises ValueError for no questions (such an image has no score) and for an unknown expected answer.
    """
    if not len(questions) or len(questions) != len(answers):
        raise ValueError(f"{len(questions)} questions and {len(answers)} answers")
    signs = []
    for question in questions:
        if question.expected not in ("yes", "no"):
            raise ValueError(f"question {question.id}: expected is {question.expected!r}: choose yes or no")
        signs.append(1.0 if question.expected == "yes" else -1.0)
    return float(np.mean(np.array(signs) * (answers[:, 0].astype(np.float64) - answers[:, 1])))


def score_images(table: dict[str, list], qa: Sequence[PromptQuestions]) -> dict[str, dict[int, float]]:
    """Scores by prompt and sample from the columns of scores.parquet.

    Raises RecordError when an image lacks the answer to a question of its prompt: nothing shrinks a mean in silence.
    """
    answers: dict[tuple[str, int], dict[str, tuple[float, float]]] = defaultdict(dict)
    for prompt_id, sample, question_id, p_yes, p_no in zip(*table.values(), strict=True):
        answers[prompt_id, sample][question_id] = (p_yes, p_no)
    asked = {row.prompt_id: row.questions for row in qa}
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for (prompt_id, sample), given in answers.items():
        questions = asked.get(prompt_id)
        if questions is None or set(given) != {q.id for q in questions}:
            raise RecordError(f"scores: the answers on sample {sample} of prompt {prompt_id} do not match qa.jsonl")
        scores[prompt_id][sample] = image_score(questions, np.array([given[q.id] for q in questions]))
    return dict(scores)
