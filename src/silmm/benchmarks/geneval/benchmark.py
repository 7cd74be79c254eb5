"""GenEval: 553 prompts on objects, four pictures each, looked at by a detector.

The arithmetic of djghosh13/geneval@af4902f (evaluation/evaluate_images.py, summary_scores.py): a picture is right or
wrong; a task's score is the share of its pictures that are right, the overall score the mean of the six tasks. The
fault that `official` has and `corrected` has not:
- A thing that the detector finds twice counts twice, as two of one class or as one each of two (see `complaints`).
What both have, because the published prompts and code say so: more objects than asked for are no fault but in counting;
colour and place are those of the most confident objects alone.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from silmm.benchmarks.geneval.layout import LAYOUT
from silmm.benchmarks.geneval.prompts import METADATA, NAMES, TASKS, Task, Wanted, read
from silmm.benchmarks.geneval.scores import Seen, complaints
from silmm.benchmarks.geneval.seeing import look, purpose
from silmm.benchmarks.interface import CORRECTED, OFFICIAL, Benchmark, DataFile, Finding, Item, Row, Tally

COMMIT = "af4902f24d3ca90ebbb446dd9891a59e0f82725f"
RIGHT = "right"
COLORED = ("colors", "color_attr")


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """A row a picture; `answer` is what the published code complains about. There is no single probability."""
    made = []
    for item, own in zip(items, findings, strict=True):
        expected = ", ".join(map(_told, item.facts.include))
        for image, finding in enumerate(own):
            objects = {name: [Seen(**one) for one in seen] for name, seen in finding.items()}
            wrong, corrected = (complaints(item.facts, objects, mended) for mended in (False, True))
            answer = "; ".join(wrong) or RIGHT
            scores = float(not wrong), float(not corrected)
            made.append(Row(item.id, image, "all", item.category, item.prompt, expected, answer, math.nan, *scores))
    return made


def _told(wanted: Wanted) -> str:
    color = f"{wanted.color} " if wanted.color else ""
    place = f" {wanted.relation} the first" if wanted.relation else ""
    return f"{wanted.number} {color}{wanted.name}{place}"


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    """By task, in the published order."""
    own: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        own[row.item_id].append(row)
    by_task = sorted(items, key=lambda item: TASKS.index(item.category))
    return [
        Tally(variant, item.category, item.id, sum(getattr(row, variant) for row in own[item.id]), len(own[item.id]))
        for item in by_task
        for variant in (OFFICIAL, CORRECTED)
    ]


def write_official(folder: Path, items: Sequence[Item], rows: Sequence[Row]) -> None:
    """`results.jsonl`, as `summary_scores.py` reads it: a line a picture, without the boxes."""
    known = {item.id: (item, names) for item, names in zip(items, LAYOUT.names(items), strict=True)}
    lines = []
    for row in rows:
        item, names = known[row.item_id]
        task: Task = item.facts
        told = {
            "filename": names[row.image].name, "tag": item.category, "prompt": item.prompt,
            "correct": bool(row.official), "reason": "" if row.official else row.answer.replace("; ", "\n"),
            "metadata": json.dumps(task.raw),
        }  # fmt: skip
        lines.append(json.dumps(told) + "\n")
    (folder / "results.jsonl").write_text("".join(lines), encoding="utf-8")


def _file(path: str, folder: str, sha256: str) -> DataFile:
    return DataFile(path, f"https://raw.githubusercontent.com/djghosh13/geneval/{COMMIT}/{folder}/{path}", sha256)


BENCHMARK = Benchmark(
    name="geneval",
    title="GenEval",
    commit=f"djghosh13/geneval@{COMMIT[:7]}",
    files=(
        _file(METADATA, "prompts", "5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13"),
        _file(NAMES, "evaluation", "608f6a0e5c8ca1c7a92b818430141fe268c85b7930b50f4160f1d65893b5bacd"),
    ),
    judges={
        "detector": "facebook/mask2former-swin-small-coco-instance",
        "clip": "openai/clip-vit-large-patch14",
    },
    layout=LAYOUT,
    read=read,
    roles_of=lambda category: ("detector", "clip") if category in COLORED else ("detector",),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={"overall": TASKS},
    prompts=553,
    finds=purpose,
    found=lambda finding: sum(map(len, finding.values())),
    write_official=write_official,
    upright=True,
)
