"""The official names of the pictures: `<category>/samples/<prompt>_<6-digit number>.png`, ten of each prompt.

The published evaluators read the prompt from the name, up to the first "_", and sort by the number after the last one;
whether it runs through all pictures or starts anew with each prompt does not matter here. Each category has a folder of
its own, called as here, or as its file of prompts is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from silmm.benchmarks.interface import Item, Ref
from silmm.benchmarks.pictures import SUFFIXES, PictureFiles
from silmm.benchmarks.t2i_compbench.prompts import LISTS
from silmm.errors import InputError

Found = dict[str, list[tuple[int, str]]]  # of each prompt: numbers and names of its pictures


def names(items: Sequence[Item]) -> list[list[Ref]]:
    """Where pictures that are drawn here are put: the number runs through the category, as in the published script."""
    counts: dict[str, int] = defaultdict(int)
    refs = []
    for item in items:
        start = counts[item.category]
        counts[item.category] += len(item.seeds)
        folder = f"{item.category}/samples"
        refs.append([Ref(f"{folder}/{item.prompt}_{start + k:06d}.png") for k in range(len(item.seeds))])
    return refs


def locate(files: PictureFiles, items: Sequence[Item]) -> list[list[Ref]]:
    """The ten pictures of each prompt, in the order of their numbers. Files of other prompts are let be.

    Raises InputError that lists prompts with fewer or more pictures, numbers that are there twice, and categories
    without a folder.
    """
    found = {category: _of_category(files, category) for category in dict.fromkeys(item.category for item in items)}
    problems = []
    refs = []
    for item in items:
        own = sorted(found[item.category].get(item.prompt, []))
        if len(own) != len(item.seeds):
            problems.append(f"{item.category}: {item.prompt!r} has {len(own)}")
        elif len({number for number, _ in own}) < len(own):
            problems.append(f"{item.category}: {item.prompt!r} has a number twice")
        refs.append([Ref(name) for _, name in own])
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(
            f"{files.where}: {len(problems)} of {len(items)} prompts without exactly {len(items[0].seeds)} pictures"
            f" ({'; '.join(problems[:5])}{more}): expected {items[0].category}/samples/<prompt>_<number>.png"
        )
    return refs


def _of_category(files: PictureFiles, category: str) -> Found:
    stem = LISTS[category][0].removesuffix(".txt")
    folders = dict.fromkeys((category, stem, stem.removesuffix("_val")))
    there = {folder: own for folder in folders if (own := _in_folder(files, folder))}
    if len(there) != 1:
        what = "in two folders" if there else "no pictures"
        raise InputError(
            f"{files.where}: {category}: {what} ({', '.join(there or folders)}): give one folder of that name, with"
            " samples/<prompt>_<number>.png"
        )
    return next(iter(there.values()))


def _in_folder(files: PictureFiles, folder: str) -> Found:
    found: Found = defaultdict(list)
    doubled = set(files.doubled)
    for name in files.holder:
        parts = name.split("/")
        stem, dot, suffix = parts[-1].rpartition(".")
        prompt, number = stem.split("_")[0], stem.rpartition("_")[2]
        inside = parts[0] == folder and parts[1:-1] in ([], ["samples"])
        if inside and dot + suffix.lower() in SUFFIXES and "_" in stem and number.isdecimal():
            found[prompt] += [(int(number), name)] * (1 + (name in doubled))
    return found
