"""DPG-Bench's scores: of a prompt, of broad categories (L1) and of detailed ones (L2)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from silmm.benchmarks.interface import CORRECTED, OFFICIAL, Item, Row, Tally

BROAD = ("global", "entity", "attribute", "relation", "other")  # as the published tables order them
ALL = "all"


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    """The broad categories, `all`, then the detailed ones.

    `all` is the mean over prompts of the mean over pictures of the mean over questions. Categories pool questions:
    the official ones as they were answered about the last picture, the corrected ones as they count, of all pictures.
    """
    broad = {question.detailed: question.broad for item in items for question in item.facts}
    pictures: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        pictures[row.item_id][row.image].append(row)
    by_category: dict[str, list[Tally]] = defaultdict(list)
    for item in items:
        own = [pictures[item.id][image] for image in sorted(pictures[item.id])]
        for tally in (*_official(item.id, own, broad), *_corrected(item.id, own, broad)):
            by_category[tally.category].append(tally)
    detailed = sorted(set(broad) - set(broad.values()))
    order = dict.fromkeys((*BROAD, *sorted(broad.values()), ALL, *detailed))
    return [tally for category in order for tally in by_category[category]]


def _official(item_id: str, pictures: Sequence[Sequence[Row]], broad: dict[str, str]) -> list[Tally]:
    counted = [[row for row in own if not math.isnan(row.official)] for own in pictures]
    if not all(counted):
        return []  # the published code skips this prompt
    score = _mean(_mean(row.official for row in own) for own in counted)
    answers = [(row.category, float(row.answer == "yes")) for row in counted[-1]]
    return [Tally(OFFICIAL, ALL, item_id, score, 1.0), *_pooled(OFFICIAL, item_id, answers, broad)]


def _corrected(item_id: str, pictures: Sequence[Sequence[Row]], broad: dict[str, str]) -> list[Tally]:
    score = _mean(_mean(row.corrected for row in own) for own in pictures)
    answers = [(row.category, row.corrected) for own in pictures for row in own]
    return [Tally(CORRECTED, ALL, item_id, score, 1.0), *_pooled(CORRECTED, item_id, answers, broad)]


def _pooled(variant: str, item_id: str, answers: Iterable[tuple[str, float]], broad: dict[str, str]) -> list[Tally]:
    sums: dict[str, list[float]] = defaultdict(list)
    for category, value in answers:
        for name in {category, broad[category]}:
            sums[name].append(value)
    return [Tally(variant, name, item_id, sum(own), float(len(own))) for name, own in sorted(sums.items())]


def _mean(values: Iterable[float]) -> float:
    """As the published code computes it, to the last bit."""
    listed = list(values)
    return sum(listed) / len(listed)
