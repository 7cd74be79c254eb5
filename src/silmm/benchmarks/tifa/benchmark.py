"""TIFA v1.0: 4,081 prompts, one picture each, 25,829 questions with answers to choose from.

The arithmetic of Yushi-Hu/tifa@8e37050 (tifascore/tifa_score.py): what the judge writes is taken for the choice that it
is to the letter, else for the one nearest in the space of a sentence embedder; 1 if that is the answer. The score is
the mean over prompts of the mean over questions; categories (element types) pool questions. Its faults, which
`official` has and `corrected` has not:
- A second model guesses what the judge meant, and always finds something: "0" dogs became "1" in the authors' own
  sample, so that a judge can be right without having said so. `corrected` takes the choice to which the judge itself
  gives the largest probability; where choices begin with the same token, and so have the same one, the official rule
  decides between them.
- A question whose answer is none of its choices is lost for every picture: counted beside the numbers, in both.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.benchmarks.interface import CORRECTED, OFFICIAL, Benchmark, DataFile, Finding, Item, Layout, Row, Tally
from silmm.benchmarks.judges.interface import Judges, Query
from silmm.benchmarks.named_by_id import ONE_PICTURE
from silmm.benchmarks.tifa.choosing import join, most_probable, nearest
from silmm.benchmarks.tifa.official_files import write_official
from silmm.benchmarks.tifa.questions import Question, read_questions

if TYPE_CHECKING:
    import numpy as np

COMMIT = "8e37050f44ab4ee681e4251f3c8a9d4cc86e901e"
PROMPTS, QUESTIONS = "tifa_v1.0_text_inputs.json", "tifa_v1.0_question_answers.json"
ALL = "all"


def read(folder: Path) -> list[Item]:
    """The prompts; a category is the source that an id begins with (coco, drawbench, paintskill, partiprompt).

    Raises RecordError as `read_questions` does.
    """
    asked = read_questions(folder / PROMPTS, folder / QUESTIONS)
    return [Item(one.id, one.prompt, one.id.partition("_")[0], (0,), one.questions) for one in asked]


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Item]) -> list[Finding]:
    """Of each question: the written answer, the choice nearest to it, and the probability of each choice."""
    assert judges.vqa is not None and judges.sentences is not None
    asked = [[Query(q.text, _different(q.choices), free=True) for q in item.facts] for item in items]
    answers = judges.vqa.answer(pictures, asked)
    written = [answer.text for own in answers for answer in own]
    chosen = iter(nearest(judges.sentences, written, [q.choices for item in items for q in item.facts]))
    return [
        {"written": [a.text for a in own], "chosen": [next(chosen) for _ in own], "probs": [list(a.probs) for a in own]}
        for own in answers
    ]


def _different(choices: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(choices))


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """A row a question. `answer` is what the judge wrote, and after an arrow what it was taken for; `p` is the
    probability of the expected answer."""
    made = []
    for item, seen in zip(items, findings, strict=True):
        for image, finding in enumerate(seen):
            told = zip(finding["written"], finding["chosen"], finding["probs"], strict=True)
            for number, (question, (written, chosen, probs)) in enumerate(zip(item.facts, told, strict=True), 1):
                made.append(_row(item.id, image, number, question, written, chosen, probs))
    return made


def _row(
    item_id: str, image: int, number: int, question: Question, written: str, chosen: str, probs: Sequence[float]
) -> Row:
    choices = _different(question.choices)
    p = dict(zip(choices, probs, strict=True)).get(question.answer, math.nan)
    official = float(chosen == question.answer)
    corrected = float(most_probable(probs, choices, chosen) == question.answer)
    told = join(written, chosen)
    return Row(item_id, image, str(number), question.kind, question.text, question.answer, told, p, official, corrected)


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    """Element types, sorted, then `all`."""
    own: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        own[row.item_id].append(row)
    by_category: dict[str, list[Tally]] = defaultdict(list)
    for item in items:
        for variant in (OFFICIAL, CORRECTED):
            scores: dict[str, list[float]] = defaultdict(list)
            for row in own[item.id]:
                scores[row.category].append(row.official if variant == OFFICIAL else row.corrected)
            for kind, values in scores.items():
                by_category[kind].append(Tally(variant, kind, item.id, sum(values), float(len(values))))
            every = [value for values in scores.values() for value in values]
            by_category[ALL].append(Tally(variant, ALL, item.id, sum(every) / len(every), 1.0))
    order = (*sorted(set(by_category) - {ALL}), ALL)
    return [tally for category in order for tally in by_category[category]]


def notes(items: Sequence[Item]) -> dict[str, int]:
    """Questions whose answer cannot be chosen."""
    lost = sum(question.answer not in question.choices for item in items for question in item.facts)
    return {"questions whose answer is none of their choices": lost} if lost else {}


def picture_map(items: Sequence[Item]) -> Mapping[str, str]:
    """The map of pictures that the published evaluator asks for."""
    return {"imgs.json": json.dumps({item.id: f"{item.id}.png" for item in items}, indent=4) + "\n"}


def _url(name: str) -> str:
    return f"https://raw.githubusercontent.com/Yushi-Hu/tifa/{COMMIT}/tifa_v1.0/{name}"


BENCHMARK = Benchmark(
    name="tifa",
    title="TIFA v1.0",
    commit=f"Yushi-Hu/tifa@{COMMIT[:7]}",
    files=(
        DataFile(PROMPTS, _url(PROMPTS), "650281d508b056ac9782bc84d5493626424ee851a8778af90b9db554cfbc1a0f"),
        DataFile(QUESTIONS, _url(QUESTIONS), None),
    ),
    judges={
        "vqa": "mplug_visual-question-answering_coco_large_en",
        "sentences": "sentence-transformers/all-mpnet-base-v2",
    },
    layout=Layout(ONE_PICTURE.locate, ONE_PICTURE.names, picture_map),
    read=read,
    roles_of=lambda category: ("vqa", "sentences"),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={},
    write_official=write_official,
    upright=True,
    notes=notes,
)
