"""Attributes: every noun phrase of a prompt is asked about ("a green bench?"), and the answers are multiplied.

The arithmetic of Karine-Huang/T2I-CompBench@1b70949 (BLIPvqa_eval/BLIP_vqa.py). Its faults, which `official` has and
`corrected` has not:
- A prompt in which spaCy finds no noun phrase has nothing to ask about, and every picture of it scores 1. `corrected`
  asks about the whole prompt.
- Phrases after the eighth are not asked about.
- Answers and products are rounded to four digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from silmm.benchmarks.t2i_compbench.words import Words

MOST = 8  # phrases that are asked about
NO_OBJECTS = ("top", "the side", "the left", "the right")  # places


def phrases(words: Words) -> list[str]:
    """The noun phrases of a prompt that name objects."""
    return [chunk for chunk in words.chunks if chunk not in NO_OBJECTS]


def asked(prompt: str, words: Words) -> list[str]:
    """What is asked about: all phrases, or the prompt where there is none."""
    return phrases(words) or [prompt.rstrip(".")]


def counted(words: Words) -> int:
    """How many of those that are asked count officially: the first ones."""
    return min(len(phrases(words)), MOST)


def likely(p_yes: float, p_no: float) -> float:
    """The probability of yes, if it is yes or no."""
    return p_yes / (p_yes + p_no) if p_yes + p_no > 0 else 0.0


def rounded(p: float) -> float:
    """As the published evaluator writes a number into its files."""
    return float(f"{p:.4f}")


def product(official: Sequence[float]) -> float:
    """The official score of a picture, from its rounded answers."""
    return rounded(math.prod(official))
