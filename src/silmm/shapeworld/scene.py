"""Scenes: what can stand in a picture, and where.

A picture is 30 x 30 pixels, a grid of 6 x 6 patches of 5 x 5 pixels. An object covers 2 x 2 patches; its
place is the (row, col) of its upper left patch. An object that overlaps an earlier one stands in front of it
and hides whole patches of it (it carries a margin of background, as a sticker does). A link is a
bar through the empty middle slot of a row or a column, between the two objects at its ends.
"""

from __future__ import annotations

from typing import NamedTuple

COLORS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
TEXTURES = ("solid", "striped")
SIZES = ("small", "big")
ATTRIBUTES = {"color": COLORS, "shape": SHAPES, "texture": TEXTURES, "size": SIZES}
RELATIONS_2D = ("left", "right", "above", "below")
RELATIONS_3D = ("front", "behind")
RELATIONS = (*RELATIONS_2D, *RELATIONS_3D, "linked")
MIRROR = {"left": "right", "right": "left", "above": "below", "below": "above", "front": "behind", "behind": "front"}
GRID = 6  # patches a side
PATCH = 5  # pixels a side
SIDE = GRID * PATCH
MAX_OBJECTS = 4
SLOTS = tuple((r, c) for r in (0, 2, 4) for c in (0, 2, 4))


class Obj(NamedTuple):
    """One object: its four attributes and the (row, col) of its upper left patch."""

    color: str
    shape: str
    texture: str
    size: str
    row: int
    col: int

    @property
    def kind(self) -> int:
        """Index of the attribute combination, 0 .. 47."""
        color, shape = COLORS.index(self.color), SHAPES.index(self.shape)
        return ((color * len(SHAPES) + shape) * len(TEXTURES) + TEXTURES.index(self.texture)) * len(
            SIZES
        ) + SIZES.index(self.size)


KINDS = tuple(
    (color, shape, texture, size) for color in COLORS for shape in SHAPES for texture in TEXTURES for size in SIZES
)


class Scene(NamedTuple):
    """Objects from back to front, and links as pairs of object numbers (lower first)."""

    objects: tuple[Obj, ...]
    links: tuple[tuple[int, int], ...] = ()


def overlap(a: Obj, b: Obj) -> bool:
    """Whether the 2 x 2 patches of the two objects share a patch."""
    return abs(a.row - b.row) < 2 and abs(a.col - b.col) < 2


def holds(relation: str, scene: Scene, i: int, j: int) -> bool:
    """Whether object i stands in the relation to object j.

    2D relations follow the dominant axis of the offset between centres, as in T2I-CompBench (both axes count at 45
    degrees) and need objects that do not overlap; `front` needs overlap with i painted later.
    """
    a, b = scene.objects[i], scene.objects[j]
    if relation == "linked":
        return (min(i, j), max(i, j)) in scene.links
    if relation in RELATIONS_3D:
        first, second = (j, i) if relation == "front" else (i, j)
        return overlap(a, b) and first < second
    if overlap(a, b):
        return False
    down, right = b.row - a.row, b.col - a.col
    if relation in ("left", "right"):
        return abs(right) >= abs(down) and (right > 0) == (relation == "left")
    return abs(down) >= abs(right) and (down > 0) == (relation == "above")


def slots_between(a: Obj, b: Obj) -> tuple[int, int] | None:
    """Upper left patch of the middle slot that a link between the two would cross, or None."""
    if a.row == b.row and a.row % 2 == 0 and {a.col, b.col} == {0, 4}:
        return a.row, 2
    if a.col == b.col and a.col % 2 == 0 and {a.row, b.row} == {0, 4}:
        return 2, a.col
    return None
