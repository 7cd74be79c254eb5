"""From the objects of a picture to right or wrong.

Source: djghosh13/geneval@af4902f: evaluation/evaluate_images.py (evaluate, relative_position).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from silmm.benchmarks.geneval.prompts import Task, Wanted

CLOSE = 0.1  # of two objects' sizes: centres that are nearer lie neither left nor right, above nor below
TURN = 0.5  # share of the distance between centres, from which on a relation holds


class Seen(NamedTuple):
    """An object of a class, the best ones first."""

    xyxy: tuple[float, float, float, float]
    score: float
    again: bool = False  # a better find of a class that the prompt names is the same thing
    color: str | None = None  # where one is asked


Objects = Mapping[str, Sequence[Seen]]  # by class


def chosen(seen: Sequence[Seen], count: int, corrected: bool) -> list[int]:
    """The numbers of the objects that stand for `count` wanted ones: the best, of which colour and place are asked."""
    return [number for number, one in enumerate(seen) if not (corrected and one.again)][:count]


def complaints(task: Task, objects: Objects, corrected: bool) -> list[str]:
    """What is wrong with a picture; nothing where it is right.

    corrected: a thing that was found twice counts once. The published code goes through each class by itself and
    removes nothing (`max_overlap` is 1), so that one thing that the detector takes for a cup as well as for a bowl is
    "a cup and a bowl", and one found twice is two.
    """
    wrong: list[str] = []
    matched: list[list[Seen] | None] = []
    for wanted in task.include:
        own = objects[wanted.name]
        found = [own[number] for number in chosen(own, wanted.number, corrected)]
        problem = _problem(wanted, found, matched)
        wrong += [problem] if problem else []
        matched.append(None if problem else found)
    for wanted in task.exclude:
        count = sum(not (corrected and one.again) for one in objects[wanted.name])
        if count >= wanted.number:
            wrong.append(f"expected {wanted.name}<{wanted.number}, found {count}")
    return wrong


def _problem(wanted: Wanted, found: Sequence[Seen], matched: Sequence[Sequence[Seen] | None]) -> str | None:
    if len(found) < wanted.number:
        return f"expected {wanted.name}>={wanted.number}, found {len(found)}"
    colors = [one.color for one in found]
    if wanted.color and colors.count(wanted.color) < wanted.number:
        return f"expected {wanted.color} {wanted.name}>={wanted.number}, found {', '.join(map(str, colors))}"
    if wanted.relation is None:
        return None
    targets = matched[wanted.target]
    if targets is None:
        return f"no target for {wanted.name} to be {wanted.relation}"
    for one in found:
        for target in targets:
            relations = relative_position(one.xyxy, target.xyxy)
            if wanted.relation not in relations:
                return f"expected {wanted.name} {wanted.relation} target, found {' and '.join(relations) or 'neither'}"
    return None


def relative_position(a: Sequence[float], b: Sequence[float]) -> list[str]:
    """Where box a (x0, y0, x1, y1) lies as seen from box b: none, one or two of RELATIONS. The distance of centres
    along each axis, less CLOSE of both sizes, in shares of the whole distance (not of what is left of it, so that
    large objects close to each other on a diagonal have no relation)."""
    offsets = [(a[k] + a[k + 2] - b[k] - b[k + 2]) / 2 for k in (0, 1)]
    sizes = [abs(a[k + 2] - a[k]) + abs(b[k + 2] - b[k]) for k in (0, 1)]
    left = [math.copysign(max(abs(o) - CLOSE * s, 0), o) for o, s in zip(offsets, sizes, strict=True)]
    if all(abs(value) < 1e-3 for value in left):
        return []
    dx, dy = (value / math.hypot(*offsets) for value in left)
    holds = {"left of": dx < -TURN, "right of": dx > TURN, "above": dy < -TURN, "below": dy > TURN}
    return [name for name, true in holds.items() if true]
