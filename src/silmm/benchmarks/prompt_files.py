"""The prompts in official files of benchmarks, or in anybody's files of the same kinds.

Counted are .txt (a prompt a line), .jsonl, .json (a list of objects, or an object of objects, by id) and .csv, with the
prompt under one of FIELDS. In a folder, and those in it, every such file is read but licences, notes on sources, hidden
files and lists of labels; one of objects or rows that have no prompts at all (annotations, maps of pictures) is passed
over. A file that is named itself must have prompts.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.errors import InputError, RecordError

FIELDS = ("prompt", "caption", "text", "prompt_en")  # the first of them that a file has
KINDS = (".txt", ".jsonl", ".json", ".csv")
NOTES = ("license", "licence", "source", "readme")  # how the names of files begin that are about the others
SHOWN = 50  # files of a folder that are named
LABELS = ("new_objects.txt", "object_names.txt")  # T2I-CompBench's and GenEval's names of things: no prompts

Records = list[tuple[str, Any]]  # where in the file, and what is there


def prompts_by_file(paths: Iterable[Path]) -> dict[Path, list[str]]:
    """The prompts of every file, in its order; files in the order of the paths, then by name.

    Raises InputError for a path that is not there, of another kind, or a folder without prompts; RecordError for a file
    that cannot be read, has no prompts though it is named, or has them in some of its records only.
    """
    found: dict[Path, list[str]] = {}
    for path in paths:
        made = {file: prompts_of(file) for file in files_of(path)}
        if path.is_file() and not made[path]:
            raise RecordError(f"{path}: no prompts: expected lines of text, or records with {' or '.join(FIELDS)}")
        if not any(made.values()):
            raise InputError(f"{path}: no prompts in this folder: expected {', '.join(KINDS)} with prompts")
        found |= {file: prompts for file, prompts in made.items() if prompts}
    return found


def files_of(path: Path) -> list[Path]:
    """The files that are looked at: the path itself, or those in the folder. Raises InputError."""
    if path.is_file():
        if path.suffix.lower() not in KINDS:
            raise InputError(f"{path}: not a file of prompts by its name: expected {', '.join(KINDS)}")
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder: expected benchmark prompts")
    return sorted(file for file in path.rglob("*") if file.is_file() and _counts(file.relative_to(path)))


def _counts(file: Path) -> bool:
    name = file.name.lower()
    hidden = any(part.startswith(".") for part in file.parts)
    return not hidden and name.endswith(KINDS) and not name.startswith(NOTES) and name not in LABELS


def prompts_of(file: Path) -> list[str]:
    """The prompts of one file, doubles too; [] where no record has one. Raises RecordError with file and line."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{file}: not UTF-8 text (byte {error.start}): expected a file of prompts") from None
    kind = file.suffix.lower()
    if kind == ".txt":
        return [line.strip() for line in text.split("\n") if line.strip()]
    return _prompts(file, {".jsonl": _json_lines, ".json": _json, ".csv": _csv}[kind](file, text))


def _prompts(file: Path, records: Records) -> list[str]:
    objects = [record for _, record in records if isinstance(record, dict)]
    field = next((name for name in FIELDS if any(name in record for record in objects)), None)
    if field is None:
        return []
    prompts = []
    for where, record in records:
        prompt = record.get(field) if isinstance(record, dict) else None
        if not isinstance(prompt, str) or not prompt.strip():
            raise RecordError(f"{file}{where}: no text under {field!r}, which other records have: mend the file")
        prompts.append(prompt.strip())
    return prompts


def _json_lines(file: Path, text: str) -> Records:
    lines = [(f":{number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [(where, _parsed(file, where, line)) for where, line in lines]


def _json(file: Path, text: str) -> Records:
    content = _parsed(file, "", text)
    if isinstance(content, dict):
        if any(name in content for name in FIELDS):
            return [("", content)]
        return [(f": {key!r:.40}", record) for key, record in content.items()]
    return [(f": record {n}", r) for n, r in enumerate(content, 1)] if isinstance(content, list) else []


def _parsed(file: Path, where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise RecordError(f"{file}{where}: not JSON ({reason}): expected prompts") from None


def _csv(file: Path, text: str) -> Records:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        return [(f":{reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise RecordError(f"{file}:{reader.line_num}: not CSV ({error}): expected prompts") from None


def told(path: Path, found: Mapping[Path, Sequence[str]]) -> str:
    """One line on a path of `prompts_by_file`: how many distinct prompts of which of its files."""
    mine = {file: set(rows) for file, rows in found.items() if file == path or path in file.parents}
    names = [f"{len(rows)} of {file.relative_to(path)}" for file, rows in mine.items() if file != path]
    listed = f" ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})" if names else ""
    return f"{path}: {len(set().union(*mine.values()))} prompts of {len(mine)} file{'s' * (len(mine) > 1)}{listed}"
