"""Official files of one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silmm.errors import RecordError
from silmm.typed_json import is_text, loads, short

Line = tuple[str, dict[str, Any]]  # "file: line n", for messages, and the object


def read_lines(file: Path) -> list[Line]:
    """The objects of a file, in order. Raises RecordError for a file or a line that cannot be read, or an empty one."""
    try:
        texts = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: cannot be read ({short(error)}): give the official file") from None
    lines = [(f"{file}: line {number}", text) for number, text in enumerate(texts, 1)]
    if not lines:
        raise RecordError(f"{file}: empty: give the official file")
    return [(where, _object(where, text)) for where, text in lines]


def _object(where: str, text: str) -> dict[str, Any]:
    try:
        found = loads(text)
    except RecordError as error:
        raise RecordError(f"{where}: {error}: give the official file") from None
    if not isinstance(found, dict):
        raise RecordError(f"{where}: {short(found)}: expected an object")
    return found


def text_of(where: str, row: dict[str, Any], key: str) -> str:
    """A text of an object. Raises RecordError where there is none."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip() or not is_text(value):
        raise RecordError(f"{where}: {key} is {short(value)}: expected a text")
    return value
