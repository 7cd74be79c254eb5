"""2D relations ("a giraffe next to a lamp"): both objects a quarter each, by confidence, the relation a half.

The arithmetic of Karine-Huang/T2I-CompBench@1b70949 (UniDet_eval/2D_spatial_eval.py). Its faults, which `official` has
and `corrected` has not:
- An object counts only if a label is the noun to the letter: "phone" is no "cell phone". A hundred of the 300 prompts
  name something that the published detector has no such label for, and score 0 whatever the picture. `corrected` takes
  whole words, plurals and other names.
- "on top of" and "on bottom of" are looked for, but not scored: the relation is always 0. `corrected` takes them for
  "on the top of" and "on the bottom of".
- Two things are near if they are near in one direction, however far in the other. `corrected` asks for both.
- Two of a kind ("a dog near a dog") are the same box. `corrected` takes two.
- A complex prompt with two relations, or with an object that is no noun to the parser, scores 0. `corrected` takes the
  first relation, for the object behind it the last word, and else the first and the last noun.
Both set a picture with less than a half to 0, as published. So a prompt without a relation (one of the complex ones)
scores 0 in both, unless both objects are certain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from silmm.benchmarks.interface import Item
from silmm.benchmarks.t2i_compbench.boxes import PEOPLE, Corners, Part, Seen, best, in_their_pixels, offset, overlap
from silmm.benchmarks.t2i_compbench.words import Words

NEAR = 150.0  # pixels
TOUCHING = 0.1  # overlap above which things are no longer clearly beside each other
LEAST = 0.5  # a picture's score below which it is 0
BESIDE = ("on side of", "next to", "near")
DIRECTIONS = {
    "on the left of": (1, 0),
    "on the right of": (-1, 0),
    "on the bottom of": (0, -1),
    "on the top of": (0, 1),
}
RELATIONS = (*BESIDE, *DIRECTIONS, "on top of")  # in the order in which the published code looks for them
_ALIKE = {"on top of": "on the top of", "on bottom of": "on the bottom of"}
# Where a complex prompt is divided into what is before and behind.
_DIVIDES = ("on top of", "on bottom of", "on the left", "on the right", "next to", "on side of", "near")


def relation(prompt: str) -> str | None:
    """The relation that the published code finds."""
    return next((words for words in RELATIONS if words in prompt), None)


def mended_relation(prompt: str) -> str | None:
    """The first relation in whole words, by the name that has a rule."""
    first = re.search("|".join(rf"\b{words}\b" for words in (*_ALIKE, *RELATIONS)), prompt)
    return _ALIKE.get(first.group(), first.group()) if first else None


def objects(item: Item, words: Words) -> tuple[str, str] | None:
    """The two nouns, as the published code takes them: the first and the last; of a complex prompt those around its
    relation, if there are two."""
    if item.category == "complex":
        found = [noun for sides in _around(words) for noun in sides if noun]
        return (found[0], found[1]) if len(found) == 2 else None
    return _ends(words)


def mended_objects(item: Item, words: Words) -> tuple[str, str] | None:
    """The same, with something to look for wherever the prompt has a noun."""
    first, second = next(iter(_around(words)), (None, None)) if item.category == "complex" else (None, None)
    if first is None:
        return _ends(words)
    return first, second or next(word.text for word in reversed(words.words) if word.pos != "PUNCT")


def _ends(words: Words) -> tuple[str, str] | None:
    nouns = [word.text for word in words.words if word.pos == "NOUN"]
    return (nouns[0], nouns[-1]) if nouns else None


def _around(words: Words) -> list[tuple[str | None, str | None]]:
    """Of every relation the last noun or name before, and the first noun behind (or the end of the first name)."""
    texts, tags = [word.text for word in words.words], [word.pos for word in words.words]
    found = []
    for i in range(len(texts)):
        length = next((k for k in (3, 2, 1) if " ".join(texts[i : i + k]) in _DIVIDES), 0)
        if length:
            before = [texts[j] for j in range(i) if tags[j] in ("NOUN", "PROPN")]
            behind = [texts[j] for j in range(i + length, len(texts)) if tags[j] == "NOUN"]
            names = [
                texts[j] for j in range(i + length, len(texts) - 1) if tags[j] == "PROPN" and tags[j + 1] != "PROPN"
            ]
            found.append((before[-1] if before else None, next(iter(behind or names), None)))
    return found


def labels(item: Item, words: Words) -> tuple[str, ...]:
    """What a detector without a vocabulary of its own is to look for."""
    named = [*(objects(item, words) or ()), *(mended_objects(item, words) or ())]
    return tuple(dict.fromkeys(called(noun) for noun in named))


def called(noun: str) -> str:
    """A noun as the published code looks for it."""
    return "person" if noun in PEOPLE else noun


def holds(words: str | None, a: Corners, b: Corners, *, near: bool) -> float:
    """How far the relation holds between two boxes, 0 to 1. near: in one direction already is near, as published."""
    x, y = offset(a, b)
    if words in BESIDE:
        close = min(abs(x), abs(y)) if near else max(abs(x), abs(y))
        return 1.0 if close < NEAR else NEAR / max(abs(x), abs(y))
    if words not in DIRECTIONS:
        return 0.0
    right, down = DIRECTIONS[words]
    along, across = (x * right, y) if right else (y * down, x)
    if along <= 0 or along <= abs(across):
        return 0.0
    shared = overlap(a, b)
    return 1.0 if shared < TOUCHING else TOUCHING / shared


def parts(item: Item, words: Words, boxes: Sequence[Seen], size: tuple[int, int]) -> list[Part]:
    """First object, second object, relation."""
    boxes = in_their_pixels(boxes, size)
    official = _official(item, words, boxes)
    nouns = mended_objects(item, words) or ("", "")
    first = best(boxes, nouns[0]) if nouns[0] else None
    second = best(boxes, nouns[1], but=first) if nouns[1] else None
    asked = mended_relation(item.prompt)
    degree = holds(asked, first.xyxy, second.xyxy, near=False) if first and second else 0.0
    confidences = [box.score if box else 0.0 for box in (first, second)]
    corrected = zeroed([0.25 * confidences[0], 0.25 * confidences[1], 0.5 * degree])
    questions = (f"{nouns[0]}?", f"{nouns[1]}?", f"{nouns[0]} {asked} {nouns[1]}?")
    answers = (first.label if first else "none", second.label if second else "none", "yes" if degree == 1 else "no")
    p = (*confidences, degree)
    return [Part(str(k), questions[k], "yes", answers[k], p[k], official[k], corrected[k]) for k in range(3)]


def _official(item: Item, words: Words, boxes: Sequence[Seen]) -> list[float]:
    nouns = objects(item, words)
    if nouns is None:
        return [0.0, 0.0, 0.0]
    found = [next((box for box in boxes if box.label == called(noun)), None) for noun in nouns]
    values = [0.25 * box.score if box else 0.0 for box in found]
    first, second = found
    degree = holds(relation(item.prompt), first.xyxy, second.xyxy, near=True) if first and second else 0.0
    return zeroed([*values, 0.5 * degree])


def zeroed(values: list[float]) -> list[float]:
    """All or nothing: a picture with less than a half has nothing."""
    return values if sum(values) >= LEAST else [0.0] * len(values)
