"""How many weights a folder holds, by what they are for: from the files' headers, or where there are none yet, from
the shapes that config.json says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from silmm.errors import InputError
from silmm.lmm.hf import folder, original
from silmm.lmm.hf.shape import ITEMS

Sizes = Mapping[str, tuple[int, ...]]  # shape of each weight, by name


class Part(NamedTuple):
    """A part of a model."""

    name: str
    numbers: int
    memory: int  # bytes, as it is loaded
    stages: frozenset[str] | None = None  # in which it is loaded; None: in all


class Group(NamedTuple):
    """The weights of one part."""

    name: str
    stems: tuple[str, ...] = ("",)  # one of them is in the name of each of its weights
    dtype: str | None = None  # as which it is loaded, where that is not the LMM's
    stages: frozenset[str] | None = None  # in which it is loaded; None: in all


class Holding(NamedTuple):
    """What a role's weights are, and whether they are there."""

    files: list[Path]
    missing: str | None  # why they cannot be loaded, or None
    parts: list[Part]  # empty where nothing is known


def holding(
    read: Callable[[], tuple[Sizes, list[Path]]], guess: Callable[[], Sizes], groups: Iterable[Group], dtype: str
) -> Holding:
    """What `read`, shapes and files, says; where it fails, what `guess` does, and where that fails too, nothing."""
    try:
        sizes, files = read()
        return Holding(files, None, grouped(sizes, groups, dtype))
    except InputError as error:
        try:
            return Holding([], str(error), grouped(guess(), groups, dtype))
        except InputError:
            return Holding([], str(error), [])


def holding_of(
    path: Path, skeleton: Callable[[Path], Any], groups: Iterable[Group], dtype: str, *, family: str,
    sources: Callable[[Path], Sequence[original.Source] | None],
) -> Holding:  # fmt: skip
    """What a folder holds that is in its publisher's own layout, which `sources` says, or in transformers', where its
    model_type is the family's name; without weights, what the `skeleton` that its config.json makes has."""

    def read() -> tuple[Sizes, list[Path]]:
        if own := sources(path):
            whole = original.check(own, made)
            return whole.shapes, whole.files
        found = folder.check(path, family=family, model_type=family)
        return {name: shape for name, (_, shape) in found.tensors.items()}, found.files

    def guess() -> Sizes:
        folder.read_config(path, family)
        return made()

    def made() -> Sizes:
        return original.shapes_of_model(path, skeleton)

    return holding(read, guess, groups, dtype)


def grouped(sizes: Sizes, groups: Iterable[Group], dtype: str) -> list[Part]:
    """The parts in the groups' order: a weight belongs to the first group that has a stem of its name."""
    groups = list(groups)
    counts = dict.fromkeys(groups, 0)
    for name, shape in sizes.items():
        counts[next(group for group in groups if any(stem in name for stem in group.stems))] += math.prod(shape)
    return [
        Part(group.name, count, count * ITEMS[group.dtype or dtype], group.stages)
        for group, count in counts.items()
        if count
    ]
