"""From what a judge writes to one of a question's choices, in two ways."""

from __future__ import annotations

from collections.abc import Sequence

from silmm.benchmarks.judges.interface import Embedder

ARROW = " -> "  # between a written answer and the choice that it was taken for


def nearest(embedder: Embedder, written: Sequence[str], choices: Sequence[Sequence[str]]) -> list[str]:
    """The written answers that are choices to the letter, as they are; of each other one, the choice whose embedding
    has the largest cosine with its own, the first of equals.

    Every text is embedded once. Source: Yushi-Hu/tifa@8e37050: tifascore/vqa_models.py (multiple_choice_vqa),
    mc_sbert.py.
    """
    open_ones = [i for i, answer in enumerate(written) if answer not in choices[i]]
    texts = sorted({text for i in open_ones for text in (written[i], *choices[i])})
    if not texts:
        return list(written)
    vectors_ND = embedder.embed(texts)
    place = {text: vectors_ND[i] for i, text in enumerate(texts)}
    chosen = list(written)
    for i in open_ones:
        cosines = [float(place[choice] @ place[written[i]]) for choice in choices[i]]
        chosen[i] = choices[i][cosines.index(max(cosines))]
    return chosen


def most_probable(probs: Sequence[float], choices: Sequence[str], preferred: str) -> str:
    """The choice that the judge itself finds the likeliest. Choices that begin with the same token have the same
    probability: of those the preferred one, else the first."""
    best = [choice for choice, p in zip(choices, probs, strict=True) if p == max(probs)]
    return preferred if preferred in best else best[0]


def join(written: str, chosen: str) -> str:
    """Both in one text, e.g. "bike -> bicycle"; a choice to the letter stands alone."""
    return written if written == chosen else written + ARROW + chosen


def part(answer: str, choices: Sequence[str]) -> tuple[str, str]:
    """What `join` joined: written, chosen."""
    if answer in choices:
        return answer, answer
    # the longest choice that ends it: choices may hold arrows too
    chosen = max((choice for choice in choices if answer.endswith(ARROW + choice)), key=len)
    return answer.removesuffix(ARROW + chosen), chosen
