"""From answers to a score for each image (paper section 3.3; the strategies of its Table 2)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from silmm.records import PromptQuestions, Question, RecordError

Answers = dict[str, dict[int, np.ndarray]]  # (p_yes, p_no) [Q, 2] by prompt and sample, in the order of the questions


def differences(questions: Sequence[Question], answers: np.ndarray) -> np.ndarray:
    """p(expected) - p(other) of each question, float64 `[Q]`; answers are (p_yes, p_no) `[Q, 2]`.

    Raises ValueError for no questions (such an image has no score) and for an unknown expected answer.
    """
    if not len(questions):
        raise ValueError("no question, so there is nothing to score")
    if len(questions) != len(answers):
        raise ValueError(f"{len(questions)} questions and {len(answers)} answers")
    signs = []
    for question in questions:
        if question.expected not in ("yes", "no"):
            raise ValueError(f"question {question.id}: expected is {question.expected!r}: choose yes or no")
        signs.append(1.0 if question.expected == "yes" else -1.0)
    return np.array(signs) * (answers[:, 0].astype(np.float64) - answers[:, 1])


def image_score(questions: Sequence[Question], answers: np.ndarray, scorer: str = "self") -> float:
    """An image's score, of its answers (p_yes, p_no) `[Q, 2]`, by one of SCORERS.

    Raises what `differences` raises, and ValueError for an unknown scorer.
    """
    if scorer not in SCORERS:
        raise ValueError(f"scorer is {scorer!r}: choose one of {', '.join(SCORERS)}")
    return SCORERS[scorer](questions, differences(questions, answers))


def _mean(questions: Sequence[Question], d: np.ndarray) -> float:
    """The mean over questions of p(expected) - p(other), the paper's difference of probabilities."""
    return float(np.mean(d))


def _ratio(questions: Sequence[Question], d: np.ndarray) -> float:
    """The share of questions whose expected answer is the likelier one, the paper's ratio of "yes"."""
    return float(np.mean(d > 0))


def _dependent(questions: Sequence[Question], d: np.ndarray) -> float:
    """The mean of differences where a question counts as answered wrongly, with -1, if a question that it presupposes
    (a parent) is: what is not there stands left of nothing. After Davidsonian Scene Graphs (Cho et al., arXiv
    2310.18235), not in the paper."""
    place = {q.id: i for i, q in enumerate(questions)}
    orphan = [any(d[place[parent]] <= 0 for parent in q.parents) for q in questions]
    return _mean(questions, np.where(orphan, -1.0, d))


SCORERS: dict[str, Callable[[Sequence[Question], np.ndarray], float]] = {
    "self": _mean,
    "ratio": _ratio,
    "dependent": _dependent,
}


def answers_of(table: dict[str, list], qa: Sequence[PromptQuestions]) -> Answers:
    """The answers in the columns of scores.parquet, by prompt and sample.

    Raises RecordError when an image lacks the answer to a question of its prompt: nothing shrinks a mean in silence.
    """
    rows: dict[tuple[str, int], dict[str, tuple[float, float]]] = defaultdict(dict)
    for prompt_id, sample, question_id, p_yes, p_no in zip(*table.values(), strict=True):
        rows[prompt_id, sample][question_id] = (p_yes, p_no)
    asked = {row.prompt_id: row.questions for row in qa}
    answers: Answers = defaultdict(dict)
    for (prompt_id, sample), given in rows.items():
        questions = asked.get(prompt_id)
        if questions is None or set(given) != {q.id for q in questions}:
            raise RecordError(f"the answers on sample {sample} of prompt {prompt_id} do not match qa.jsonl")
        answers[prompt_id][sample] = np.array([given[q.id] for q in questions])
    return dict(answers)


def score_images(answers: Answers, qa: Sequence[PromptQuestions], scorer: str = "self") -> dict[str, dict[int, float]]:
    """Scores by prompt and sample, of answers as `answers_of` gives them."""
    asked = {row.prompt_id: row.questions for row in qa}
    return {
        prompt_id: {sample: image_score(asked[prompt_id], given, scorer) for sample, given in samples.items()}
        for prompt_id, samples in answers.items()
    }
