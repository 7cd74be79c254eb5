"""The result file that the published evaluator of TIFA writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from silmm.benchmarks.interface import Item, Row
from silmm.benchmarks.tifa.choosing import part


def write_official(folder: Path, items: Sequence[Item], rows: Sequence[Row]) -> None:
    """`tifa_result.json`, with the published keys."""
    text = json.dumps(result(items, rows), indent=4)
    (folder / "tifa_result.json").write_text(text + "\n", encoding="utf-8")


def result(items: Sequence[Item], rows: Sequence[Row]) -> dict[str, Any]:
    """The published result: `tifa_average`, `tifa_stdev` (None of a single prompt), `accuracy_by_type`,
    `question_details`, `caption_scores`. A question that is there twice is listed once and counted twice, as there."""
    own: dict[str, list[Row]] = defaultdict(list)
    by_type: dict[str, list[int]] = defaultdict(list)
    details: dict[str, dict[str, Any]] = {}
    for row in rows:
        own[row.item_id].append(row)
    for item in items:
        details[item.id] = {}
        for question, row in zip(item.facts, own[item.id], strict=True):
            written, chosen = part(row.answer, question.choices)
            said = {"free_form_vqa": written, "multiple_choice_vqa": chosen, "scores": int(row.official)}
            details[item.id].setdefault(question.text, dict(question.raw)).update(said)
            by_type[question.kind].append(int(row.official))
    captions = {item.id: mean(int(row.official) for row in own[item.id]) for item in items}
    return {
        "tifa_average": mean(captions.values()),
        "tifa_stdev": stdev(captions.values()) if len(captions) > 1 else None,
        "accuracy_by_type": {kind: mean(scores) for kind, scores in by_type.items()},
        "question_details": details,
        "caption_scores": captions,
    }
