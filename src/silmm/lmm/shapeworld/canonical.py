"""Canonical pictures: a specification fixes its scene, so that a decoder of few steps has one picture to aim at.

Where layouts are free, a decoder of six steps averages over places in its first step and paints halves of several
objects. Here the relation fixes the two places that it relates, and all else fills the corners in the caption's order.
Attributes that the caption leaves open follow from the object's number.
"""

from __future__ import annotations

import numpy as np

from silmm.shapeworld.language import Spec, Thing
from silmm.shapeworld.scene import COLORS, Obj, Scene

CORNERS = ((0, 0), (0, 4), (4, 0), (4, 4))
# Places of the first and the second thing of a relation.
PAIRS = {
    "left": ((2, 0), (2, 4)),
    "right": ((2, 4), (2, 0)),
    "above": ((0, 2), (4, 2)),
    "below": ((4, 2), (0, 2)),
    "front": ((2, 3), (2, 2)),
    "behind": ((2, 2), (2, 3)),
    "linked": ((2, 0), (2, 4)),
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
    corners = iter(CORNERS)
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
