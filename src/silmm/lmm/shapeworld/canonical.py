"""Canonical pictures: a specification fixes its scene, so that a decoder of few steps has one picture to aim at.

Where layouts are free, a decoder of six steps averages over places in its first step and paints halves of several
objects. Here the relation fixes the places of the two things that it relates, and all else fills the corners that are
left, in the caption's order. Attributes that the caption leaves open follow from the object's number.
"""

from __future__ import annotations

import numpy as np

from silmm.shapeworld.language import Spec, Thing
from silmm.shapeworld.scene import COLORS, Obj, Scene

CORNERS = ((0, 0), (0, 4), (4, 0), (4, 4))
# Places of the first and the second thing of a relation: corners too, as far as can be, for what is rare in captions
# (a relation) is then drawn with what is frequent.
PAIRS = {
    "left": ((0, 0), (0, 4)),
    "right": ((0, 4), (0, 0)),
    "above": ((0, 0), (4, 0)),
    "below": ((4, 0), (0, 0)),
    "front": ((0, 0), (0, 1)),
    "behind": ((0, 1), (0, 0)),
    "linked": ((0, 0), (0, 4)),
}


def _object(thing: Thing, number: int, place: tuple[int, int]) -> Obj:
    return Obj(
        thing.color or COLORS[number % len(COLORS)], thing.shape, thing.texture or "solid", thing.size or "big", *place
    )


def canonical_scene(rng: np.random.Generator, spec: Spec) -> Scene:
    """The scene of the specification (`rng` is not used: the signature is `sample_scene`'s)."""
    related: dict[int, tuple[int, int]] = {}
    links: list[tuple[int, int]] = []
    for relation, i, j in spec.relations:
        related[i], related[j] = PAIRS[relation]
        if relation == "linked":
            links.append((i, j))
    corners = iter([place for place in CORNERS if place not in related.values()])
    objects: list[Obj] = []
    first: dict[int, int] = {}  # number of an item's first object
    order = list(range(len(spec.items)))
    if spec.relations and spec.relations[0][0] == "front":
        order = [1, 0, *order[2:]]  # the object in front is painted later
    for item in order:
        count, thing = spec.items[item]
        first[item] = len(objects)
        for _ in range(count):
            objects.append(_object(thing, item, related[item] if item in related else next(corners)))
    pairs = tuple((min(first[i], first[j]), max(first[i], first[j])) for i, j in links)
    return Scene(tuple(objects), pairs)
