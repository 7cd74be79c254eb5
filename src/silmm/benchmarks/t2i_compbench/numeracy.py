"""Numeracy ("three swans and two dogs"): each object half for being there, half for the exact number.

The arithmetic of Karine-Huang/T2I-CompBench@1b70949 (UniDet_eval/numeracy_eval.py). Its faults, which `official` has
and `corrected` has not:
- A noun is looked for within labels: a "scarf" is a car. `corrected` takes whole words, plurals and other names.
- "telivision" is misspelt, so that televisions are not looked for as "tv".
- "three couches and one sofa" are a detector's four couches, which are neither three nor one: both numbers are wrong in
  every picture. `corrected` takes words that one label may name for one object, and adds up their numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from silmm.benchmarks.interface import Item
from silmm.benchmarks.t2i_compbench.boxes import Corners, Part, Seen, alike, in_their_pixels, is_named
from silmm.benchmarks.t2i_compbench.words import Words

NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
CALLED = {
    **dict.fromkeys(("boy", "girl", "man", "woman"), "person"),
    **{"ship": "boat", "telivision": "tv", "goldfish": "fish", "painting": "picture"},
}
SAME = 0.9  # share of overlap above which two boxes of a label are the same thing

Counted = tuple[tuple[str, int], ...]  # objects of a prompt in the singular, and how many of each


def counted(prompt: str, singular_of: dict[str, str]) -> Counted:
    """What a prompt counts: number words and the one or two words behind them, if these are in the official list.

    singular_of: of every noun of the list, in the singular and in the plural.
    """
    words = re.findall(r"\w+|[^\w\s]", prompt)
    found = []
    for i, word in enumerate(words):
        if word in NUMBERS:
            for length in (2, 1):
                name = " ".join(words[i + 1 : i + 1 + length])
                if name in singular_of and len(words) > i + length:
                    found.append((singular_of[name], NUMBERS[word]))
                    break
    return tuple(found)


def labels(item: Item, words: Words | None) -> tuple[str, ...]:
    """What a detector without a vocabulary of its own is to look for."""
    return tuple(dict.fromkeys(CALLED.get(name, name) for name, _ in item.facts))


def parts(item: Item, words: Words | None, boxes: Sequence[Seen], size: tuple[int, int]) -> list[Part]:
    """Of every object whether it is there, and whether the number is right."""
    kept = without_doubles(in_their_pixels(boxes, size))
    names = [box.label for box in kept]
    weight = 0.5 / len(item.facts)
    groups = alike([name for name, _ in item.facts])
    group_of = {k: group for group in groups for k in group}
    made = []
    for k, (name, number) in enumerate(item.facts):
        official = _official_count(names, CALLED.get(name, name))
        same, wanted = [item.facts[i][0] for i in group_of[k]], sum(item.facts[i][1] for i in group_of[k])
        corrected = sum(any(is_named(one, box.label) for one in same) for box in kept)
        share = 0.5 / len(groups) / len(same)  # words that mean the same share one object's worth
        there = Part(
            f"{k}-there", f"{name}?", "yes", "yes" if corrected else "no", float(corrected > 0),
            weight * (official > 0), share * (corrected > 0),
        )  # fmt: skip
        many = Part(
            f"{k}-number", f"how many of {' or '.join(dict.fromkeys(same))}?", str(wanted), str(corrected),
            float(corrected == wanted), weight * (official == number), share * (corrected == wanted),
        )  # fmt: skip
        made += [there, many]
    return made


def _official_count(names: list[str], name: str) -> int:
    """Labels with this name; where there is none, those within which it is found get it, and keep it for the objects
    to come."""
    if name not in names:
        names[:] = [name if name in label else label for label in names]
    return names.count(name)


def without_doubles(boxes: Sequence[Seen]) -> list[Seen]:
    """The boxes, best first, without those that mostly share their area with a better one of the same label."""
    kept: list[Seen] = []
    for box in boxes:
        if not any(box.label == other.label and _same(box.xyxy, other.xyxy) for other in kept):
            kept.append(box)
    return kept


def _same(a: Corners, b: Corners) -> bool:
    """In whole pixels, of which both ends belong to a box."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    shared = width * height
    return any(shared / area > SAME for area in (*areas, sum(areas) - shared))
