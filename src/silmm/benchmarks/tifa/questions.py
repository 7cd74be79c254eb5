"""TIFA's two files: the prompts, and their questions with answers to choose from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from silmm.benchmarks.scores import listed
from silmm.errors import RecordError
from silmm.typed_json import is_text, short

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # names files


class Question(NamedTuple):
    """One question."""

    text: str
    choices: tuple[str, ...]
    answer: str
    kind: str  # element_type: "object", "color", ..
    raw: dict[str, Any]  # as it stands in the file, for the official result


class Asked(NamedTuple):
    """A prompt and its questions, in the order of the file."""

    id: str
    prompt: str
    questions: tuple[Question, ...]


def read_questions(prompts: Path, questions: Path) -> list[Asked]:
    """The prompts, in the order in which the question file comes to them: as the published code counts them.

    Raises RecordError for files that are not there or not such lists, for a prompt twice, and lists prompts without
    questions and questions of unknown prompts.
    """
    texts: dict[str, str] = {}
    for number, row in enumerate(_list(prompts)):
        where = f"{prompts}: prompt {number + 1}"
        identity, text = _text(where, row, "id"), _text(where, row, "caption").strip()
        if not _ID.fullmatch(identity):
            raise RecordError(f"{where}: id is {short(identity)}: expected letters, digits, '.', '_' and '-'")
        if identity in texts:
            raise RecordError(f"{where}: {identity} is there twice: give the official file")
        texts[identity] = text
    asked: dict[str, list[Question]] = {}
    for number, row in enumerate(_list(questions)):
        where = f"{questions}: question {number + 1}"
        asked.setdefault(_text(where, row, "id"), []).append(_question(where, row))
    if strange := [identity for identity in asked if identity not in texts]:
        raise RecordError(
            f"{questions}: questions of {len(strange)} unknown prompts ({listed(strange)}): not in {prompts}"
        )
    if bare := [identity for identity in texts if identity not in asked]:
        raise RecordError(
            f"{questions}: {len(bare)} prompts have no questions ({listed(bare)}): give the official file"
        )
    return [Asked(identity, texts[identity], tuple(own)) for identity, own in asked.items()]


def _question(where: str, row: dict[str, Any]) -> Question:
    choices = row.get("choices")
    valid = isinstance(choices, list) and all(isinstance(choice, str) and is_text(choice) for choice in choices)
    if not valid or len(choices or ()) < 2:
        raise RecordError(f"{where}: choices is {short(choices)}: expected a list of two texts or more")
    texts = (_text(where, row, name) for name in ("question", "answer", "element_type"))
    text, answer, kind = texts
    return Question(text, tuple(choices or ()), answer, kind, row)


def _text(where: str, row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value.strip() or not is_text(value):
        raise RecordError(f"{where}: {name} is {short(value)}: expected a text")
    return value


def _list(file: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{file}: not JSON that can be read ({short(error)}): give the official file") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise RecordError(f"{file}: expected a list of objects: give the official file")
    return rows
