"""DSG-1k: 1,060 prompts from ten sources, one picture each, 8,182 yes/no questions that depend on each other.

The arithmetic of j-min/DSG@7330119 (dsg/vqa_utils.py: calc_vqa_score; dsg/data_utils.py; scripts/t2i_eval_dsg1k.py).
A question counts if its parents were answered yes; this does not go on to its own children (DPG-Bench's does). Its
faults, which `official` has and `corrected` has not:
- The eight prompts with a parent that is no number ("5, right") lose all their dependencies: nothing is zeroed there.
  `corrected` keeps the numbers.
- tifa160_134 has lost its first question, on which all others depend; the published script finds no answers for it and
  counts it as 0 for every model. `corrected` takes a parent that is no question for none.
- A child whose parent was answered yes counts even where the parent itself does not. The code copies the scores before
  zeroing, the authors' README zeroes in place: `corrected` zeroes whatever presupposes a no, at any remove.
- An answer counts if it is "yes" to the letter; `corrected` compares the probabilities of "yes" and "no".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from silmm.benchmarks.dpg.asking import likely_yes, look, rows_of, written_yes
from silmm.benchmarks.dpg.questions import Question, notes, read_questions, unknown_parents
from silmm.benchmarks.dpg.zeroing import by_ancestors, by_answers
from silmm.benchmarks.interface import CORRECTED, OFFICIAL, Benchmark, DataFile, Finding, Item, Row, Tally
from silmm.benchmarks.named_by_id import ONE_PICTURE
from silmm.errors import RecordError

COMMIT = "7330119a39f76ff90e619a8bd3ff321e71aa986b"
ALL = "all"
# The published categories of prompts, by how their ids begin.
SOURCES = {
    "tifa160": "tifa",
    "stanford_paragraph": "paragraph",
    "localized_narratives": "paragraph",
    "vrd": "relation",
    "countbench": "count",
    "diffusiondb": "real_user",
    "midjourney": "real_user",
    "posescript": "pose",
    "whoops": "defying",
    "drawtext": "text",
}
CATEGORIES = tuple(dict.fromkeys(SOURCES.values()))


def read(folder: Path) -> list[Item]:
    """The prompts of `dsg-1k-anns.csv`, in its order.

    Raises RecordError as `read_questions` does, and for prompts of an unknown source, or without a text.
    """
    file = folder / "dsg-1k-anns.csv"
    items = []
    for one in read_questions(file):
        category = SOURCES.get(one.item_id.rpartition("_")[0])
        if category is None:
            raise RecordError(f"{file}: {one.item_id}: unknown source: expected an id as {', '.join(SOURCES)} have")
        if not one.prompt:
            raise RecordError(f"{file}: {one.item_id}: no prompt: expected it in the column text")
        items.append(Item(one.item_id, one.prompt, category, (0,), one.questions))
    return items


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """A row a question."""
    made = []
    for item, seen in zip(items, findings, strict=True):
        questions: Sequence[Question] = item.facts
        parents = {question.id: question.parents for question in questions}
        for image, finding in enumerate(seen):
            official = _official(questions, written_yes(questions, finding))
            corrected = by_ancestors(likely_yes(questions, finding), parents)
            made += rows_of(item, image, finding, [item.category] * len(questions), official, corrected)
    return made


def _official(questions: Sequence[Question], yes: dict[int, bool]) -> dict[int, float]:
    if any(question.words for question in questions):
        return by_answers(yes, {})
    if unknown_parents(questions):
        return dict.fromkeys(yes, 0.0)
    return by_answers(yes, {question.id: question.parents for question in questions})


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    """Means over prompts of the means over questions: of each published category of prompts, and of all."""
    own: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        own[row.item_id].append(row)
    made = []
    for category in (*CATEGORIES, ALL):
        for item in items:
            if category in (item.category, ALL):
                count = len(own[item.id])
                official = sum(row.official for row in own[item.id]) / count
                corrected = sum(row.corrected for row in own[item.id]) / count
                made += [Tally(OFFICIAL, category, item.id, official, 1.0)]
                made += [Tally(CORRECTED, category, item.id, corrected, 1.0)]
    return made


BENCHMARK = Benchmark(
    name="dsg_1k",
    title="DSG-1k",
    commit=f"j-min/DSG@{COMMIT[:7]}",
    files=(
        DataFile(
            "dsg-1k-anns.csv",
            f"https://raw.githubusercontent.com/j-min/DSG/{COMMIT}/dsg/data/dsg-1k-anns.csv",
            "b7ce06ea8a0478ccfd8fba105ecd26d7d301eb99d5c412987546c4cc8e08917a",
        ),
    ),
    judges={"vqa": "mplug_visual-question-answering_coco_large_en"},
    layout=ONE_PICTURE,
    read=read,
    roles_of=lambda category: ("vqa",),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={},
    prompts=1060,
    notes=notes,
)
