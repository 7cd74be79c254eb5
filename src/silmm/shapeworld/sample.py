"""Random specifications, scenes that fulfil them, and yes/no questions about a scene."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from silmm.shapeworld.holdout import is_held_out, is_held_out_unit
from silmm.shapeworld.language import SUBCATEGORIES, Spec, Thing, Unit, category
from silmm.shapeworld.oracle import judge
from silmm.shapeworld.scene import (
    ATTRIBUTES,
    COLORS,
    GRID,
    RELATIONS,
    RELATIONS_2D,
    RELATIONS_3D,
    SHAPES,
    SIZES,
    SLOTS,
    TEXTURES,
    Obj,
    Scene,
    holds,
    slots_between,
)

T = TypeVar("T")


def pick(rng: np.random.Generator, values: Sequence[T]) -> T:
    """One of the values."""
    return values[int(rng.integers(len(values)))]


def _thing(rng: np.random.Generator, mention: frozenset[str]) -> Thing:
    values = {"color": COLORS, "texture": TEXTURES, "size": SIZES}
    return Thing(pick(rng, SHAPES), *(pick(rng, v) if k in mention else None for k, v in values.items()))


def _draft(rng: np.random.Generator, subcategory: str) -> Spec:
    """A draft of the sub-category; it may break a rule of the language (two things that do not exclude each other)."""
    if subcategory in ("color", "shape", "texture"):
        mention = {"color": "color", "shape": "size", "texture": "texture"}[subcategory]
        n = 2 if rng.random() < 0.6 else 3
        return Spec(tuple((1, _thing(rng, frozenset({mention}))) for _ in range(n)))
    color = frozenset({"color"})
    if subcategory == "numeracy":
        counts = pick(rng, ((2,), (3,), (4,), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)))
        return Spec(tuple((n, _thing(rng, color)) for n in counts))
    if subcategory != "complex":
        relations = {"spatial_2d": RELATIONS_2D, "spatial_3d": RELATIONS_3D, "non_spatial": ("linked",)}[subcategory]
        return Spec(((1, _thing(rng, color)), (1, _thing(rng, color))), ((pick(rng, relations), 0, 1),))
    return _complex_draft(rng)


def _complex_draft(rng: np.random.Generator) -> Spec:
    full, color = frozenset({"texture", "color"}), frozenset({"color"})
    form = rng.integers(4)
    if form == 0:  # a small striped red circle left of a big blue square
        mentions = [frozenset({"size", "color"}) if rng.random() < 0.5 else full for _ in range(2)]
        return Spec(tuple((1, _thing(rng, m)) for m in mentions), ((pick(rng, RELATIONS), 0, 1),))
    if form == 1:  # a red circle left of a blue square and a striped green triangle
        return Spec(tuple((1, _thing(rng, m)) for m in (color, color, full)), ((pick(rng, RELATIONS_2D), 0, 1),))
    if form == 2:  # two red circles and one striped blue square
        return Spec(tuple((n, _thing(rng, m)) for n, m in zip((2, 1), (color, full), strict=True)))
    return Spec(tuple((1, _thing(rng, full)) for _ in range(2)))  # a striped red circle and a solid blue square


def sample_spec(rng: np.random.Generator, subcategory: str, *, held_out: bool | None) -> Spec:
    """A valid specification; held_out: with a held-out composition (True), without any (False), either (None)."""
    if subcategory not in SUBCATEGORIES:
        raise ValueError(f"subcategory is {subcategory!r}: choose one of {', '.join(SUBCATEGORIES)}")
    while True:
        spec = _draft(rng, subcategory)
        if category(spec) == subcategory and (held_out is None or is_held_out(spec) == held_out):
            return spec


FREE_MENTIONS = 6  # attributes that a free caption mentions at most, so that its words fit


def sample_free_spec(rng: np.random.Generator) -> Spec:
    """What a caption may tell beyond the sub-categories: one to three things, each with attributes of its own choice,
    perhaps a relation between two of them; no held-out composition. A painter learns from it what words mean one by
    one."""
    while True:
        n = int(rng.integers(1, 4))
        mentions = [frozenset(k for k in ("color", "texture", "size") if rng.random() < 0.5) for _ in range(n)]
        things = [_thing(rng, mention) for mention in mentions]
        related = n > 1 and rng.random() < 0.5
        spec = Spec(tuple((1, t) for t in things), ((pick(rng, RELATIONS), 0, 1),) if related else ())
        fits = sum(map(len, mentions)) <= FREE_MENTIONS - (n == 3)
        if fits and all(a.excludes(b) for a, b in itertools.combinations(things, 2)) and not is_held_out(spec):
            return spec


def _fill(rng: np.random.Generator, thing: Thing, place: tuple[int, int]) -> Obj:
    """An object that the thing describes; attributes that it does not mention are random."""
    return Obj(
        thing.color or str(pick(rng, COLORS)),
        thing.shape,
        thing.texture or str(pick(rng, TEXTURES)),
        thing.size or str(pick(rng, SIZES)),
        *place,
    )


def _pair_places(rng: np.random.Generator, relation: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Places of two objects in the relation, first and second."""
    if relation in RELATIONS_3D:
        while True:
            back = SLOTS[rng.integers(len(SLOTS))]
            down, right = ((0, 1), (0, -1), (1, 0), (-1, 0))[rng.integers(4)]
            front = (back[0] + down, back[1] + right)
            if 0 <= front[0] <= GRID - 2 and 0 <= front[1] <= GRID - 2:
                return (front, back) if relation == "front" else (back, front)
    while True:
        first, second = (SLOTS[k] for k in rng.choice(len(SLOTS), 2, replace=False))
        a, b = (Obj("red", "circle", "solid", "big", *place) for place in (first, second))
        fits = slots_between(a, b) is not None if relation == "linked" else holds(relation, Scene((a, b)), 0, 1)
        if fits:
            return first, second


def sample_scene(rng: np.random.Generator, spec: Spec) -> Scene:
    """A random scene that fulfils the specification and holds nothing else."""
    places: dict[int, tuple[int, int]] = {}
    blocked: set[tuple[int, int]] = set()
    links: list[tuple[int, int]] = []
    for relation, i, j in spec.relations:
        places[i], places[j] = _pair_places(rng, relation)
        if relation == "linked":
            links.append((i, j))
            a, b = (Obj("red", "circle", "solid", "big", *places[k]) for k in (i, j))
            middle = slots_between(a, b)
            assert middle is not None
            blocked.add(middle)
    taken = [*places.values(), *blocked]
    free = [s for s in SLOTS if all(abs(s[0] - r) >= 2 or abs(s[1] - c) >= 2 for r, c in taken)]
    rng.shuffle(free)
    objects: list[Obj] = []
    numbers: dict[int, int] = {}
    order = list(range(len(spec.items)))
    if spec.relations and spec.relations[0][0] == "front":
        order = [1, 0, *order[2:]]  # the object in front is painted later
    for item in order:
        count, thing = spec.items[item]
        for _ in range(count):
            numbers[item] = len(objects)
            objects.append(_fill(rng, thing, places.pop(item) if item in places else free.pop()))
    pairs = tuple((min(numbers[i], numbers[j]), max(numbers[i], numbers[j])) for i, j in links)
    return Scene(tuple(objects), pairs)


def _describe(rng: np.random.Generator, obj: Obj, plain: float = 0.35) -> Thing:
    """The object with one attribute or several; `plain` is the share with its colour alone."""
    draw = rng.random()
    if draw < plain:
        return Thing(obj.shape, obj.color)
    if draw < plain + 0.5 * (1 - plain):
        texture = bool(rng.random() < 0.5)
        return Thing(obj.shape, None, obj.texture if texture else None, None if texture else obj.size)
    keep = rng.random(3) < (0.8, 0.5, 0.4)
    return Thing(obj.shape, *(v if k else None for v, k in zip((obj.color, obj.texture, obj.size), keep, strict=True)))


def _spoil_thing(rng: np.random.Generator, thing: Thing) -> Thing:
    """The thing with one mentioned attribute changed."""
    names = [k for k in Thing._fields if getattr(thing, k)]
    name = names[rng.integers(len(names))]
    others = tuple(v for v in ATTRIBUTES[name] if v != getattr(thing, name))
    return thing._replace(**{name: pick(rng, others)})


def _spoil(rng: np.random.Generator, unit: Unit, n_objects: int) -> Unit:
    """The unit with one word changed."""
    if unit.kind == "total" or (unit.kind == "count" and rng.random() < 0.7):
        counts = tuple(n for n in range(1, 5) if n != unit.count)
        return unit._replace(count=pick(rng, counts))
    if unit.kind == "relation" and rng.random() < 0.6:
        if rng.random() < 0.5:
            return unit._replace(a=unit.b, b=unit.a)
        return unit._replace(relation=pick(rng, RELATIONS))
    if unit.kind == "relation" and rng.random() < 0.5 and unit.b:
        return unit._replace(b=_spoil_thing(rng, unit.b))
    assert unit.a is not None
    return unit._replace(a=_spoil_thing(rng, unit.a))


def _true_unit(rng: np.random.Generator, scene: Scene, kind: str) -> Unit | None:
    """A unit of the kind that holds in the scene, or None."""
    n = len(scene.objects)
    if kind == "total":
        return Unit("total", None, n)
    i = int(rng.integers(n))
    plain = 0.7 if kind == "relation" else 0.35
    thing = _describe(rng, scene.objects[i], plain)
    if kind == "exist":
        return Unit("exist", thing)
    if kind == "count":
        return Unit("count", thing, sum(thing.describes(o) for o in scene.objects))
    if n < 2:
        return None
    j = int((i + rng.integers(1, n)) % n)
    true = [r for r in RELATIONS if holds(r, scene, i, j)]
    special = [r for r in true if r not in RELATIONS_2D]
    true = special if special and rng.random() < 0.7 else true
    return (
        Unit("relation", thing, 0, true[rng.integers(len(true))], _describe(rng, scene.objects[j], plain))
        if true
        else None
    )


QUESTION_KINDS = (*["exist"] * 4, "count", *["relation"] * 4, "total")


def sample_question(rng: np.random.Generator, scene: Scene, kind: str, *, held_out: bool = False) -> tuple[Unit, bool]:
    """A unit of the kind and whether it holds; yes and no equally often. held_out: allow held-out compositions."""
    want = bool(rng.random() < 0.5)
    for _ in range(50):
        unit = _true_unit(rng, scene, kind)
        if unit is None:
            kind = "exist"
            continue
        if not want:
            unit = _spoil(rng, unit, len(scene.objects))
        if judge(unit, scene) == want and (held_out or not is_held_out_unit(unit)):
            return unit, want
    unit = Unit("total", None, len(scene.objects))
    return unit, True


def sample_unique_things(rng: np.random.Generator, scene: Scene, n: int) -> list[tuple[Thing, Obj]]:
    """Up to n descriptions that fit exactly one object of the scene, with that object."""
    out = []
    for i in rng.permutation(len(scene.objects))[:n]:
        obj = scene.objects[int(i)]
        thing = _describe(rng, obj)
        if sum(thing.describes(o) for o in scene.objects) == 1:
            out.append((thing, obj))
    return out
