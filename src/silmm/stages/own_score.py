"""What a policy thinks of pictures, by its own questions and answers: for stages outside the loop's steps 3 and 4."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from silmm.lmm.interface import LMM, VisualTokens
from silmm.stages import worlds
from silmm.stages.scoring import image_score
from silmm.stages.worlds import Asked


def ask(policy: LMM, prompts: Sequence[str]) -> list[Asked]:
    """The policy's own questions about each prompt; empty where it wrote no well-formed one."""
    world = worlds.of(policy)
    return [world.split(text)[0] for text in policy.ask(prompts, max_tokens=world.question_tokens)]


def say_silent(asked_N: Sequence[Asked], command: str) -> None:
    """Say on standard error about how many prompts the policy asked nothing: their pictures have no score."""
    if silent := sum(not asked for asked in asked_N):
        print(
            f"{command}: no question about {silent} of {len(asked_N)} prompts: nothing to score there", file=sys.stderr
        )


def own_scores(policy: VisualTokens, tokens_NL: np.ndarray, asked_N: Sequence[Asked]) -> list[float | None]:
    """The policy's score of each picture by the questions about its prompt; None where it asked nothing."""
    return scores_of(policy, policy.answer(tokens_NL, texts_of(asked_N)), asked_N)


def texts_of(asked_N: Sequence[Asked]) -> list[list[str]]:
    """The questions without what they ask about."""
    return [[text for text, _ in asked] for asked in asked_N]


def scores_of(policy: LMM, answers: Sequence[np.ndarray], asked_N: Sequence[Asked]) -> list[float | None]:
    """`own_scores` of answers that the policy gave."""
    world = worlds.of(policy)
    records = [world.questions_of("own", asked).questions for asked in asked_N]
    return [image_score(rows, probs) if rows else None for rows, probs in zip(records, answers, strict=True)]
