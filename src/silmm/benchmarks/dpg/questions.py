"""The question files of DPG-Bench and DSG-1k: a CSV with the same columns, a row a question."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from silmm.benchmarks.interface import Item
from silmm.benchmarks.scores import listed
from silmm.errors import RecordError
from silmm.typed_json import short

_COLUMNS = ("item_id", "text", "proposition_id", "dependency", "tuple", "question_natural_language")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # names files


class Question(NamedTuple):
    """One row."""

    id: int  # unique within its prompt
    text: str
    label: str  # what it is about, e.g. "attribute - color (car, red)"
    parents: tuple[int, ...]  # as they stand there: some are no questions
    words: tuple[str, ...]  # what stands among them and is no number
    row: int  # of the file, from 0

    @property
    def detailed(self) -> str:
        """Its category, e.g. "attribute - color"."""
        return self.label.split("(")[0].strip()

    @property
    def broad(self) -> str:
        """What the category is one of, e.g. "attribute"."""
        return self.detailed.split("-")[0].strip()


class Asked(NamedTuple):
    """A prompt and its questions, in the order of the file."""

    item_id: str
    prompt: str
    questions: tuple[Question, ...]


def read_questions(file: Path) -> list[Asked]:
    """The prompts of a file in its order.

    Raises RecordError for a file that is not there or is no such CSV, and lists questions that are there twice,
    prompts in two places, and rows without a question.
    """
    prompts: dict[str, tuple[str, list[Question]]] = {}
    problems: list[str] = []
    last = None
    for number, row in enumerate(_rows(file)):
        item_id, question = row["item_id"], _question(file, number, row)
        _, questions = prompts.setdefault(item_id, (row["text"].strip(), []))
        if questions and item_id != last:
            problems.append(f"{item_id} in two places (line of its question {question.id})")
        if question.id in {other.id for other in questions}:
            problems.append(f"question {question.id} of {item_id} twice")
        questions.append(question)
        last = item_id
    if problems:
        raise RecordError(f"{file}: {len(problems)} problems: {listed(problems)}: give the official file")
    if not prompts:
        raise RecordError(f"{file}: no questions: give the official file")
    return [Asked(item_id, prompt, tuple(questions)) for item_id, (prompt, questions) in prompts.items()]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            if lacking := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise RecordError(f"{file}: column {lacking[0]} is missing: expected {', '.join(_COLUMNS)}")
            for row in reader:
                if None in row or None in row.values():
                    raise RecordError(f"{file}:{reader.line_num}: another number of fields than the header has")
                yield row
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: not a CSV file that can be read ({short(error)}): give the official file") from None


def _question(file: Path, number: int, row: dict[str, str]) -> Question:
    where = f"{file}: question row {number + 1}"
    if not _ID.fullmatch(row["item_id"]):
        raise RecordError(f"{where}: item_id is {short(row['item_id'])}: expected letters, digits, '.', '_', '-'")
    text = row["question_natural_language"].strip()
    if not text:
        raise RecordError(f"{where}: no question of {row['item_id']}: expected one in question_natural_language")
    fields = [field.strip() for field in row["dependency"].split(",")]
    numbers = [int(field) for field in fields if re.fullmatch(r"[0-9]{1,9}", field)]
    words = tuple(field for field in fields if not re.fullmatch(r"[0-9]{1,9}", field))
    if not re.fullmatch(r"[0-9]{1,9}", row["proposition_id"].strip()):
        raise RecordError(f"{where}: proposition_id is {short(row['proposition_id'])}: expected a whole number")
    parents = tuple(parent for parent in numbers if parent)  # 0 stands for none
    return Question(int(row["proposition_id"]), text, row["tuple"].strip(), parents, words, number)


def unknown_parents(questions: Sequence[Question]) -> list[int]:
    """The questions with a parent that is no question of the prompt."""
    known = {question.id for question in questions}
    return [question.id for question in questions if not known.issuperset(question.parents)]


def notes(items: Sequence[Item]) -> dict[str, int]:
    """What is amiss in the dependencies of these prompts (facts: their questions): rows, counted."""
    counts: Counter[str] = Counter()
    for item in items:
        questions: Sequence[Question] = item.facts
        place = {question.id: i for i, question in enumerate(questions)}
        counts["questions with a parent that is no number"] += sum(bool(question.words) for question in questions)
        counts["questions with a parent that is no question"] += len(unknown_parents(questions))
        for i, question in enumerate(questions):
            counts["questions that depend on themselves"] += question.id in question.parents
            counts["questions with a parent that comes later"] += any(place.get(p, -1) > i for p in question.parents)
    return {name: count for name, count in counts.items() if count}
