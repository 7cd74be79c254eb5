"""How many weights a folder holds, by what they are for: from the files' headers, or where there are none yet, from
the shapes that config.json says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from silmm.errors import InputError
from silmm.lmm.hf.shape import ITEMS

Sizes = Mapping[str, tuple[int, ...]]  # shape of each weight, by name


class Part(NamedTuple):
    """A part of a model."""

    name: str
    numbers: int
    memory: int  # bytes, as it is loaded


class Group(NamedTuple):
    """The weights of one part."""

    name: str
    stems: tuple[str, ...]  # in the names of its weights
    dtype: str | None = None  # as which it is loaded, where that is not the LMM's


class Holding(NamedTuple):
    """What a role's weights are, and whether they are there."""

    files: list[Path]
    missing: str | None  # why they cannot be loaded, or None
    parts: list[Part]  # empty where nothing is known


def holding(read: Callable[[], tuple[Sizes, list[Path]]], guess: Callable[[], Sizes], groups: Iterable[Group],
            rest: str, dtype: str) -> Holding:  # fmt: skip
    """What `read`, shapes and files, says; where it fails, what `guess` does, and where that fails too, nothing."""
    try:
        sizes, files = read()
        return Holding(files, None, grouped(sizes, groups, rest, dtype))
    except InputError as error:
        try:
            return Holding([], str(error), grouped(guess(), groups, rest, dtype))
        except InputError:
            return Holding([], str(error), [])


def grouped(sizes: Sizes, groups: Iterable[Group], rest: str, dtype: str) -> list[Part]:
    """The parts in the groups' order, `rest` first: all weights that are in no group."""
    counts, groups = {rest: 0}, list(groups)
    counts |= {group.name: 0 for group in groups}
    for name, shape in sizes.items():
        own = next((group.name for group in groups if any(stem in name for stem in group.stems)), rest)
        counts[own] += math.prod(shape)
    dtypes = {group.name: group.dtype or dtype for group in groups} | {rest: dtype}
    return [Part(name, count, count * ITEMS[dtypes[name]]) for name, count in counts.items() if count]
