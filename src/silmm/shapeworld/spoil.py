"""Specifications with one word changed: spoiled captions for the painter, near misses for the judge."""

from __future__ import annotations

import numpy as np

from silmm.shapeworld.holdout import is_held_out
from silmm.shapeworld.language import Spec, Thing, category
from silmm.shapeworld.sample import pick
from silmm.shapeworld.scene import ATTRIBUTES, RELATIONS, RELATIONS_2D, RELATIONS_3D


def spoil(rng: np.random.Generator, spec: Spec, *, held_out: bool = False) -> Spec:
    """The specification with one word changed: an attribute, the relation, or a number. held_out: allow held-out
    compositions. The specification itself where none of 20 tries gives a valid prompt of the same sub-category."""
    subcategory = category(spec)
    for _ in range(20):
        items, relations = list(spec.items), spec.relations
        k = int(rng.integers(len(items) + len(relations)))
        if k >= len(items):
            group = next(g for g in (RELATIONS_2D, RELATIONS_3D, RELATIONS) if relations[0][0] in g)
            relations = ((str(pick(rng, group)), *relations[0][1:]),)
        elif max(n for n, _ in items) > 1 and rng.random() < 0.5:
            items[k] = (int(rng.integers(1, 5)), items[k][1])
        else:
            count, thing = items[k]
            names = [name for name in Thing._fields if getattr(thing, name)]
            name = names[rng.integers(len(names))]
            items[k] = (count, thing._replace(**{name: pick(rng, ATTRIBUTES[name])}))
        new = Spec(tuple(items), relations)
        if new != spec and category(new) == subcategory and (held_out or not is_held_out(new)):
            return new
    return spec
