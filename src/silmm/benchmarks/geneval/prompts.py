"""GenEval's files: what must be in the pictures of each prompt, and the names of the 80 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from silmm.benchmarks.interface import Item
from silmm.benchmarks.json_lines import read_lines, text_of
from silmm.errors import RecordError
from silmm.typed_json import one_of, short

METADATA, NAMES = "evaluation_metadata.jsonl", "object_names.txt"
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")
SEEDS = (42,) * 4  # generation/diffusers_generate.py seeds once a prompt; its pictures go on from there


class Wanted(NamedTuple):
    """Objects of one class."""

    name: str  # of the 80
    number: int
    color: str | None = None  # of COLORS
    relation: str | None = None  # of RELATIONS, to
    target: int = 0  # the objects wanted in this place of the list


class Task(NamedTuple):
    """What is asked of a prompt's pictures."""

    include: tuple[Wanted, ...]  # at least so many
    exclude: tuple[Wanted, ...]  # fewer
    names: tuple[str, ...]  # the 80 classes
    raw: dict[str, Any]  # the line of the file


def read(folder: Path) -> list[Item]:
    """The prompts, called by their number as the official folders are ("00000", ..); a category is a task. Raises
    RecordError with file and line for what is not as published."""
    names = _names(folder / NAMES)
    items = []
    for number, (where, row) in enumerate(read_lines(folder / METADATA)):
        prompt, tag = text_of(where, row, "prompt"), text_of(where, row, "tag")
        if tag not in TASKS:
            raise RecordError(f"{where}: tag is {short(tag)}: {one_of(TASKS)}")
        include = _clauses(f"{where}: include", row.get("include"), names)
        exclude = _clauses(f"{where}: exclude", row.get("exclude", []), names)
        if not include:
            raise RecordError(f"{where}: include is empty: nothing is asked of the picture")
        items.append(Item(f"{number:05d}", prompt, tag, SEEDS, Task(include, exclude, names, row)))
    return items


def _names(file: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: cannot be read ({short(error)}): give the official file") from None
    if not names or not all(names) or len(set(names)) < len(names):
        raise RecordError(f"{file}: expected a name a line, each once: give the official file")
    return names


def _clauses(where: str, found: Any, names: tuple[str, ...]) -> tuple[Wanted, ...]:
    if not isinstance(found, list):
        raise RecordError(f"{where} is {short(found)}: expected a list")
    return tuple(_clause(f"{where}[{place}]", place, one, names) for place, one in enumerate(found))


def _clause(where: str, place: int, found: Any, names: tuple[str, ...]) -> Wanted:
    if not isinstance(found, dict) or (unknown := sorted(set(found) - {"class", "count", "color", "position"})):
        what = short(found) if not isinstance(found, dict) else f"key {short(unknown[0])}"
        raise RecordError(f"{where}: {what}: expected class, count and perhaps color and position")
    name, count, color = found.get("class"), found.get("count"), found.get("color")
    if name not in names:
        raise RecordError(f"{where}: class is {short(name)}: not in {NAMES}")
    if type(count) is not int or count < 1:
        raise RecordError(f"{where}: count is {short(count)}: expected 1 or more")
    if color is not None and color not in COLORS:
        raise RecordError(f"{where}: color is {short(color)}: {one_of(COLORS)}")
    position = found.get("position")
    if position is None:
        return Wanted(name, count, color)
    if not isinstance(position, list) or len(position) != 2 or position[0] not in RELATIONS:
        raise RecordError(f"{where}: position is {short(position)}: {one_of(RELATIONS)}, and a place in the list")
    if type(position[1]) is not int or not 0 <= position[1] < place:
        raise RecordError(f"{where}: position is {short(position)}: its place is not before this one")
    return Wanted(name, count, color, position[0], position[1])
