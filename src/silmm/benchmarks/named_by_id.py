"""Pictures that are named after their prompt: one file `<id>.png` each (or .jpg, ..), or a JSON map {id: file}."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from silmm.benchmarks.interface import Item, Layout, Ref
from silmm.benchmarks.pictures import SUFFIXES, PictureFiles
from silmm.benchmarks.scores import listed
from silmm.errors import InputError


def named_by_id(files: PictureFiles, items: Sequence[Item]) -> list[str]:
    """The name of each item's file. Files of no item are let be.

    Raises InputError that lists the items without a file, or with two.
    """
    found = _by_map(files) if files.map is not None else _by_name(files)
    missing = [item.id for item in items if item.id not in found]
    ids = {item.id for item in items}
    doubled = sorted(name for key, names in found.items() if key in ids for name in names if len(names) > 1)
    problems = [f"{len(missing)} of {len(items)} prompts have no picture ({listed(missing)})"] if missing else []
    problems += [f"{len(doubled)} pictures where one is expected ({listed(doubled)})"] if doubled else []
    if problems:
        expected = (
            "expected a key for each prompt" if files.map is not None else "expected one <id>.png for each prompt"
        )
        raise InputError(f"{files.where}: {'; '.join(problems)}: {expected}")
    return [found[item.id][0] for item in items]


def _by_map(files: PictureFiles) -> dict[str, list[str]]:
    named = files.map or {}
    found = {key: [name] for key, name in named.items() if files.holder[name].is_file()}
    for key in files.doubled:
        found[key] = [f"{key} (key)", f"{key} (key, again)"]
    return found


def _by_name(files: PictureFiles) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    doubled = set(files.doubled)
    for name in sorted(files.holder):
        stem, dot, suffix = name.rpartition(".")
        if dot + suffix.lower() in SUFFIXES:
            found[stem] += [name, name] if name in doubled else [name]
    return dict(found)


def _locate(files: PictureFiles, items: Sequence[Item]) -> list[list[Ref]]:
    return [[Ref(name)] for name in named_by_id(files, items)]


def _names(items: Sequence[Item]) -> list[list[Ref]]:
    return [[Ref(f"{item.id}.png")] for item in items]


ONE_PICTURE = Layout(_locate, _names)  # of each prompt
