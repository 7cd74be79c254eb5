"""A benchmark's pictures in blocks of prompts: which prompts, under which names, in which archives."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from silmm.benchmarks.choice import chosen
from silmm.benchmarks.interface import Benchmark, Item, Ref
from silmm.errors import RecordError
from silmm.stages.picture_file import archive_writer, png

Task = tuple[Item, list[Ref]]  # a prompt, and the names of its pictures


def tasks_of(bench: Benchmark, items: Sequence[Item], only: Sequence[str], first: int | None) -> list[Task]:
    """The items to draw, each with the names of its pictures. Raises RecordError where two would have one name, or a
    grid would not be full."""
    names = dict(zip((item.id for item in items), bench.layout.names(items), strict=True))
    tasks = [(item, names[item.id]) for item in chosen(bench, items, only, first)]
    owner: dict[str, str] = {}
    for item, refs in tasks:
        if len(refs) != len(item.seeds):
            raise RecordError(f"{bench.name}: item {item.id} has {len(refs)} names for {len(item.seeds)} pictures")
        for file, tiles in groupby(sorted(refs, key=_by_name), key=lambda ref: ref.name):
            if owner.setdefault(file, item.id) != item.id:
                raise RecordError(f"{bench.name}: {file} would be a picture of both {owner[file]} and {item.id}")
            found = [ref.tile for ref in tiles]
            wanted = _grid(found[0])
            if found != wanted:
                raise RecordError(f"{bench.name}: {file}: tiles {found}, expected {wanted}: every one once")
    return tasks


def blocks_of(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    """Blocks of so many prompts at most, with equally many pictures each: what is drawn together."""
    runs = [list(tasks) for _, tasks in groupby(tasks, key=lambda task: len(task[0].seeds))]
    return [rows[i : i + size] for rows in runs for i in range(0, len(rows), size)]


def _by_name(ref: Ref) -> tuple[str, tuple[int, int, int]]:
    return ref.name, ref.tile or (0, 1, 1)


def _grid(tile: tuple[int, int, int] | None) -> list[tuple[int, int, int] | None]:
    """All tiles of the file that this one is in."""
    if tile is None:
        return [None]
    _, columns, rows = tile
    return [(i, columns, rows) for i in range(columns * rows)]


def write(file: Path, block: Sequence[Task], pictures: np.ndarray) -> None:
    """Write a block's pictures, uint8 `[P * N, H, W, 3]`, as an archive of PNGs; tiles of one file make one picture."""
    refs = [ref for _, refs in block for ref in refs]
    held: dict[str, list[tuple[Ref, np.ndarray]]] = {}
    for ref, pixels in zip(refs, pictures, strict=True):
        held.setdefault(ref.name, []).append((ref, pixels))
    with archive_writer(file) as add:
        for name, tiles in held.items():
            add(name, png(_composed(tiles)))


def _composed(tiles: Sequence[tuple[Ref, np.ndarray]]) -> np.ndarray:
    """One picture uint8 `[H, W, 3]` of a file: as it is, or a grid, row by row."""
    (ref, pixels), *_ = tiles
    if ref.tile is None:
        return pixels
    _, columns, _ = ref.tile
    ordered = [pixels for _, pixels in sorted(tiles, key=lambda tile: _by_name(tile[0]))]
    lines = [np.concatenate(ordered[i : i + columns], 1) for i in range(0, len(ordered), columns)]
    return np.concatenate(lines, 0)


def is_whole(file: Path, block: Sequence[Task]) -> bool:
    """Whether a block of an earlier run is there, with the files that it should have, undamaged."""
    names = list(dict.fromkeys(ref.name for _, refs in block for ref in refs))
    try:
        with zipfile.ZipFile(file) as archive:
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            return stored and archive.namelist() == names and archive.testzip() is None
    except Exception:  # zipfile has no error of its own for some of what a damaged file may hold
        return False


def place(file: Path, target: Path) -> None:
    """A second name for a file where the file system can, else a copy: a kill must not lose both."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
