"""The exact oracle: reads a scene from pixels alone, and says what holds in it.

Each patch goes to the nearest patch of the renderer's dictionary, if it is near enough. Four fitting quarters are an
object. Two fitting quarters are an object half hidden by a whole one on their other side. Everything else, and a link
without an object at either end, makes the picture malformed (`None`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from silmm.shapeworld.language import Thing, Unit
from silmm.shapeworld.render import (
    BACKGROUND,
    FIRST_KIND,
    LINK_BOTTOM,
    LINK_LEFT,
    LINK_RIGHT,
    LINK_TOP,
    patches,
)
from silmm.shapeworld.scene import GRID, KINDS, MAX_OBJECTS, PATCH, SIDE, Obj, Scene, holds

# A patch further than this from every patch of the dictionary (root mean square over its 75 values, of 255) is none.
TOLERANCE = 48.0
_HORIZONTAL = ((LINK_TOP, LINK_TOP), (LINK_BOTTOM, LINK_BOTTOM))
_VERTICAL = ((LINK_LEFT, LINK_RIGHT), (LINK_LEFT, LINK_RIGHT))
# (quarters that show, their offsets in the 2 x 2 patches, offset of the object in front)
_HALVES = (
    ((0, 2), ((0, 0), (1, 0)), (0, 1)),
    ((1, 3), ((0, 1), (1, 1)), (0, -1)),
    ((0, 1), ((0, 0), (0, 1)), (1, 0)),
    ((2, 3), ((1, 0), (1, 1)), (-1, 0)),
)


@cache
def _dictionary() -> tuple[np.ndarray, np.ndarray]:
    flat = patches().reshape(len(patches()), -1).astype(np.float32)
    return flat, (flat**2).sum(1)


def read_labels(images_NHWC: np.ndarray) -> np.ndarray:
    """Nearest patch labels int `[n, 6, 6]` of pictures uint8 `[n, 30, 30, 3]`; -1 where no patch is near."""
    if images_NHWC.shape[1:] != (SIDE, SIDE, 3):
        raise ValueError(f"images must be [n, {SIDE}, {SIDE}, 3], not {list(images_NHWC.shape)}")
    n = len(images_NHWC)
    cells = images_NHWC.reshape(n, GRID, PATCH, GRID, PATCH, 3).transpose(0, 1, 3, 2, 4, 5).reshape(n * GRID * GRID, -1)
    cells = cells.astype(np.float32)
    flat, norms = _dictionary()
    gap = norms - 2 * cells @ flat.T
    label = gap.argmin(1)
    distance = np.take_along_axis(gap, label[:, None], 1)[:, 0] + (cells**2).sum(1)
    label[distance > TOLERANCE**2 * cells.shape[1]] = -1
    return label.reshape(n, GRID, GRID)


def _whole_objects(labels: np.ndarray) -> np.ndarray:
    """Kind `[n, 5, 5]` of the whole object at each place, -1 where there is none."""
    kind, quarter = np.divmod(labels - FIRST_KIND, 4)
    kind = np.where(labels >= FIRST_KIND, kind, -1)
    corners = ((slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)),
               (slice(1, None), slice(None, -1)), (slice(1, None), slice(1, None)))  # fmt: skip
    fits = np.ones((len(labels), GRID - 1, GRID - 1), bool)
    first = kind[:, :-1, :-1]
    for q, (r, c) in enumerate(corners):
        fits &= (kind[:, r, c] == first) & (quarter[:, r, c] == q)
    return np.where(fits & (first >= 0), first, -1)


def _assemble(labels: np.ndarray, whole: np.ndarray) -> Scene | None:
    """The scene of one label map `[6, 6]`, given its whole objects `[5, 5]`; None if anything is left over."""
    left = {(int(r), int(c)) for r, c in np.argwhere(labels != BACKGROUND)}
    fronts = [(int(r), int(c)) for r, c in np.argwhere(whole >= 0)]
    for r, c in fronts:
        left -= {(r, c), (r, c + 1), (r + 1, c), (r + 1, c + 1)}
    hidden = []
    for r, c in sorted(left):
        half = _half_object(labels, left, fronts, r, c)
        if half:
            hidden.append(half[0])
            left -= half[1]
    objects = hidden + [Obj(*KINDS[whole[r, c]], r, c) for r, c in fronts]  # type: ignore[call-arg]
    if len(objects) > MAX_OBJECTS * 2:
        return None
    links = _links(labels, left, objects)
    return None if left else Scene(tuple(objects), tuple(links))


def _half_object(
    labels: np.ndarray, left: set[tuple[int, int]], fronts: list[tuple[int, int]], r: int, c: int
) -> tuple[Obj, set[tuple[int, int]]] | None:
    """The half-hidden object whose first visible patch is (r, c), and its visible patches."""
    kind, quarter = divmod(int(labels[r, c]) - FIRST_KIND, 4)
    if labels[r, c] < FIRST_KIND:
        return None
    for (q0, q1), (off0, off1), (down, right) in _HALVES:
        row, col = r - off0[0], c - off0[1]
        second = row + off1[0], col + off1[1]
        fits = quarter == q0 and second in left and labels[second] == FIRST_KIND + 4 * kind + q1
        if fits and (row + down, col + right) in fronts:
            return Obj(*KINDS[kind], row, col), {(r, c), second}
    return None


def _links(labels: np.ndarray, left: set[tuple[int, int]], objects: list[Obj]) -> list[tuple[int, int]]:
    """Links as pairs of object numbers; takes their patches out of `left`."""
    place = {(o.row, o.col): i for i, o in enumerate(objects)}
    found = []
    for lane in (0, 2, 4):
        for pattern, middle, ends in (
            (_HORIZONTAL, (lane, 2), ((lane, 0), (lane, 4))),
            (_VERTICAL, (2, lane), ((0, lane), (4, lane))),
        ):
            cells = {(middle[0] + i, middle[1] + j) for i in (0, 1) for j in (0, 1)}
            fits = all(labels[middle[0] + i, middle[1] + j] == pattern[i][j] for i in (0, 1) for j in (0, 1))
            if fits and cells <= left and ends[0] in place and ends[1] in place:
                i, j = place[ends[0]], place[ends[1]]
                found.append((min(i, j), max(i, j)))
                left -= cells
    return sorted(found)


def read(images_NHWC: np.ndarray) -> list[Scene | None]:
    """The scene in each picture uint8 `[n, 30, 30, 3]`, or None where the picture is malformed."""
    labels = read_labels(images_NHWC)
    whole = _whole_objects(labels)
    return [None if (label < 0).any() else _assemble(label, found) for label, found in zip(labels, whole, strict=True)]


def matching(scene: Scene, thing: Thing) -> list[int]:
    """Numbers of the objects that the thing describes."""
    return [i for i, obj in enumerate(scene.objects) if thing.describes(obj)]


def judge(unit: Unit, scene: Scene | None) -> bool:
    """Whether the unit holds in the scene; nothing holds in a malformed picture."""
    if scene is None:
        return False
    if unit.kind == "total":
        return len(scene.objects) == unit.count
    assert unit.a is not None
    first = matching(scene, unit.a)
    if unit.kind == "exist":
        return bool(first)
    if unit.kind == "count":
        return len(first) == unit.count
    assert unit.b is not None
    return any(i != j and holds(unit.relation, scene, i, j) for i in first for j in matching(scene, unit.b))
