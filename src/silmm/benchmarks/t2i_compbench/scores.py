"""From rows to the scores of pictures and categories."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from silmm.benchmarks.interface import CORRECTED, OFFICIAL, Item, Row, Tally
from silmm.benchmarks.t2i_compbench import phrases

PHRASES, TEXT, BOXES = "phrases", "text", "boxes"  # kinds of questions: how the ids of rows begin


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    """Of every category the mean over pictures."""
    pictures: dict[str, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        pictures[row.item_id][row.image].append(row)
    made = []
    for item in items:
        own = pictures[item.id]
        for variant in (OFFICIAL, CORRECTED):
            total = sum(mean_score(variant, own[image]) for image in sorted(own))
            made.append(Tally(variant, item.category, item.id, total, float(len(own))))
    return made


def mean_score(variant: str, rows: Sequence[Row]) -> float:
    """Of one picture: the mean over its kinds of questions (a complex prompt has two or three)."""
    scores = picture_scores(variant, rows)
    return sum(scores.values()) / len(scores)


def picture_scores(variant: str, rows: Sequence[Row]) -> dict[str, float]:
    """Of one picture, by kind: phrases are multiplied, the parts of what a detector found are added."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_kind[row.question_id.split("-")[0]].append(row.official if variant == OFFICIAL else row.corrected)
    scores: dict[str, float] = {}
    for kind, values in by_kind.items():
        if kind != PHRASES:
            scores[kind] = sum(values)
        elif variant == OFFICIAL:
            scores[kind] = phrases.product([value for value in values if not math.isnan(value)])
        else:
            scores[kind] = math.prod(values)
    return scores
