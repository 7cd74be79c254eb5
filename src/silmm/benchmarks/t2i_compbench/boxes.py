"""Boxes that a detector found, as T2I-CompBench++ reads them: in its own pixels, with names for nouns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from silmm.benchmarks.detectors import iou as overlap

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PEOPLE", "Corners", "Part", "Seen", "best", "depth_of", "in_their_pixels", "is_named", "offset", "overlap"]

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1
SHORT, LONG = 479, 480  # the published detector's pictures: shorter side, longer side at most
PEOPLE = ("girl", "boy", "man", "woman")  # whom the detectors call a person
# Other names of what prompts name: detectors with a vocabulary of their own have these.
SYNONYMS = {
    "airplane": ("plane",),
    "bag": ("handbag", "backpack"),
    "bicycle": ("bike",),
    "bike": ("bicycle",),
    "boat": ("sailboat",),
    "computer": ("laptop",),
    "couch": ("sofa",),
    "goldfish": ("fish",),
    "motorbike": ("motorcycle",),
    "painting": ("picture",),
    "phone": ("cellphone", "telephone"),
    "plane": ("airplane",),
    "ship": ("boat", "sailboat", "watercraft"),
    "sofa": ("couch",),
    "television": ("tv",),
    "tv": ("television",),
}
# What ends with the name of another thing.
UNLIKE = ("hot dog", "teddy bear", "head phone", "pine apple", "registration plate")


class Seen(NamedTuple):
    """A box of a picture, the best ones first."""

    label: str
    score: float
    xyxy: Corners
    depth: tuple[float | None, float | None] | None = None  # as `depth_of` gives it


class Part(NamedTuple):
    """A question to one picture; the values of a picture's parts sum up to its score."""

    id: str
    question: str
    expected: str
    answer: str
    p: float  # confidence, or how far a relation holds
    official: float
    corrected: float


def in_their_pixels(boxes: Iterable[Seen], size: tuple[int, int]) -> list[Seen]:
    """The boxes in the published detector's pixels; size: width and height of the picture."""
    scale = min(SHORT / min(size), LONG / max(size))
    return [box._replace(xyxy=_times(scale, box.xyxy)) for box in boxes]


def _times(scale: float, corners: Corners) -> Corners:
    x0, y0, x1, y1 = corners
    return scale * x0, scale * y0, scale * x1, scale * y1


def depth_of(depth_HW: np.ndarray, xyxy: Corners) -> tuple[float | None, float | None]:
    """Mean depth in a box, larger is nearer: as the published code takes it, with x for rows and y for columns, and
    with both where they belong. None where that is outside of the map."""
    x0, y0, x1, y1 = (max(0, int(value)) for value in xyxy)
    areas = (depth_HW[x0:x1, y0:y1], depth_HW[y0:y1, x0:x1])
    transposed, upright = (float(area.mean()) if area.size else None for area in areas)
    return transposed, upright


def offset(a: Corners, b: Corners) -> tuple[float, float]:
    """From the centre of a to that of b, to the right and down; exactly 0 from a box to itself."""
    return (b[0] + b[2]) / 2 - (a[0] + a[2]) / 2, (b[1] + b[3]) / 2 - (a[1] + a[3]) / 2


def is_named(noun: str, label: str) -> bool:
    """Whether a detector's label ("dining table", "watercraft, boat") names what a prompt's noun does: one of its parts
    ends with the noun, another name of it, or "person" for people, in the singular or the plural; "dog bed" does not
    name a dog."""
    wanted = _meanings(noun)
    length = len(_words(noun))
    names = [name for name in re.split(r"[,/&]| and ", label.lower()) if not name.strip().endswith(UNLIKE)]
    return any(" ".join(end[-length:]) in wanted for name in names for end in _ends(name))


def alike(nouns: Sequence[str]) -> list[list[int]]:
    """The numbers of nouns by what they mean: those that one label may name are together ("couch", "sofa"; "boy",
    "girl")."""
    groups: list[tuple[list[int], set[str]]] = []
    for number, noun in enumerate(nouns):
        together, means = [number], _meanings(noun)
        for group in [group for group in groups if group[1] & means]:
            groups.remove(group)
            together, means = [*group[0], *together], means | group[1]
        groups.append((together, means))
    return [sorted(numbers) for numbers, _ in groups]


def _meanings(noun: str) -> set[str]:
    """What a label that names a noun may end with."""
    wanted = {" ".join(end) for end in _ends(noun)}
    wanted |= {other for name in wanted for other in SYNONYMS.get(name, ())}
    return wanted | {"person"} if wanted & set(PEOPLE) else wanted


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _ends(text: str) -> list[list[str]]:
    """The words of a text, the last one in each of its forms."""
    words = _words(text)
    return [[*words[:-1], form] for form in _forms(words[-1])] if words else []


def _forms(word: str) -> tuple[str, ...]:
    """A word, and what it may be the plural of."""
    ends = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
    return (word, *(word.removesuffix(end) + stem for end, stem in ends if word.endswith(end) and len(word) > 3))


def best(boxes: Sequence[Seen], noun: str, but: Seen | None = None) -> Seen | None:
    """The best box with a name of the noun, another one than `but`."""
    return next((box for box in boxes if box is not but and is_named(noun, box.label)), None)
