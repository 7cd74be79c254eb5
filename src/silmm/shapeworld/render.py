"""From scenes to pixels: a dictionary of 5 x 5 patches, a map of patch labels a scene, one gather."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from silmm.shapeworld.scene import GRID, KINDS, PATCH, SIDE, Scene, slots_between

PALETTE = {
    "background": (236, 236, 236),
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 90, 200),
    "yellow": (240, 196, 25),
    "stripe": (30, 30, 30),
    "link": (120, 60, 140),
}
BACKGROUND, LINK_TOP, LINK_BOTTOM, LINK_LEFT, LINK_RIGHT, FIRST_KIND = range(6)
N_LABELS = FIRST_KIND + 4 * len(KINDS)


def _mask(shape: str, side: int) -> np.ndarray:
    """Boolean `[side, side]` silhouette."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    if shape == "square":
        return np.ones((side, side), bool)
    if shape == "circle":
        return x * x + y * y <= (side / 2) ** 2 - 0.5
    half_width = (np.arange(side)[:, None] // 2) + 1  # widths 2, 2, 4, 4, ...: apex on top
    return np.abs(x) < half_width


def _tile(color: str, shape: str, texture: str, size: str) -> np.ndarray:
    """The 2 x 2 patches of an object, uint8 `[10, 10, 3]`, on background."""
    side = 8 if size == "big" else 6
    tile = np.full((2 * PATCH, 2 * PATCH, 3), PALETTE["background"], np.uint8)
    inner = np.full((side, side, 3), PALETTE["background"], np.uint8)
    inner[_mask(shape, side)] = PALETTE[color]
    if texture == "striped":
        dark = _mask(shape, side) & (np.arange(side)[:, None] % 3 == 1)
        inner[dark] = PALETTE["stripe"]
    margin = PATCH - side // 2
    tile[margin : margin + side, margin : margin + side] = inner
    return tile


@cache
def patches() -> np.ndarray:
    """Every patch that a rendered picture can hold: uint8 `[N_LABELS, 5, 5, 3]`."""
    out = np.empty((N_LABELS, PATCH, PATCH, 3), np.uint8)
    out[:FIRST_KIND] = PALETTE["background"]
    out[LINK_TOP, -1], out[LINK_BOTTOM, 0] = PALETTE["link"], PALETTE["link"]
    out[LINK_LEFT, :, -1], out[LINK_RIGHT, :, 0] = PALETTE["link"], PALETTE["link"]
    for k, kind in enumerate(KINDS):
        tile = _tile(*kind)
        for q, (r, c) in enumerate(((0, 0), (0, PATCH), (PATCH, 0), (PATCH, PATCH))):
            out[FIRST_KIND + 4 * k + q] = tile[r : r + PATCH, c : c + PATCH]
    out.setflags(write=False)
    return out


def label_map(scenes: Sequence[Scene]) -> np.ndarray:
    """Patch labels `[n, 6, 6]` of the scenes; later objects hide earlier ones."""
    labels = np.zeros((len(scenes), GRID, GRID), np.int64)
    for label, scene in zip(labels, scenes, strict=True):
        for i, j in scene.links:
            a, b = scene.objects[i], scene.objects[j]
            middle = slots_between(a, b)
            if middle is None:
                raise ValueError(
                    f"objects {i} and {j} cannot be linked: they are not at the two ends of a row or column"
                )
            r, c = middle
            if a.row == b.row:
                label[r, c : c + 2], label[r + 1, c : c + 2] = LINK_TOP, LINK_BOTTOM
            else:
                label[r : r + 2, c], label[r : r + 2, c + 1] = LINK_LEFT, LINK_RIGHT
        for obj in scene.objects:
            first = FIRST_KIND + 4 * obj.kind
            label[obj.row, obj.col : obj.col + 2] = first, first + 1
            label[obj.row + 1, obj.col : obj.col + 2] = first + 2, first + 3
    return labels


def paint(labels_NHW: np.ndarray) -> np.ndarray:
    """Pictures uint8 `[n, 30, 30, 3]` of patch labels `[n, 6, 6]`."""
    tiles = patches()[labels_NHW]  # n, 6, 6, 5, 5, 3
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(len(labels_NHW), SIDE, SIDE, 3)


def render(scenes: Sequence[Scene]) -> np.ndarray:
    """Pictures uint8 `[n, 30, 30, 3]` of the scenes."""
    return paint(label_map(scenes))
