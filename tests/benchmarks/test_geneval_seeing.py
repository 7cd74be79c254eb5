"""GenEval: which of a detector's boxes count, and what CLIP is shown of them; no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from silmm.benchmarks.geneval.prompts import COLORS, SEEDS, Task, Wanted
from silmm.benchmarks.geneval.seeing import crop, look
from silmm.benchmarks.interface import Finding, Item
from silmm.benchmarks.judges.interface import Box, Card, Judges
from silmm.benchmarks.judges.mask2former import THRESHOLDS
from silmm.errors import InputError

NAMES = ("dog", "cup", "bowl", "couch", "computer mouse")
PICTURE = np.full((20, 30, 3), 255, np.uint8)


def item(*include: Wanted, category: str = "two_object", exclude: tuple[Wanted, ...] = ()) -> Item:
    return Item("00000", "a photo", category, SEEDS, Task(include, exclude, NAMES, {}))


def box(label: str, score: float, x0: float, y0: float, x1: float, y1: float, *, masked: bool = False) -> Box:
    mask = np.zeros(PICTURE.shape[:2], bool)
    mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return Box(label, score, (x0, y0, x1, y1), mask if masked else None)


class Found:
    """A detector that finds what it is told, in every picture."""

    card = Card("detector", "found", "found", "1", "any")
    thresholds = THRESHOLDS

    def __init__(self, *boxes: Box) -> None:
        self.boxes = boxes

    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        assert [list(row) for row in labels] == [list(NAMES)] * len(pictures) and least in (0.3, 0.9)
        return [list(self.boxes) for _ in pictures]


class Mean:
    """A CLIP that sees the primary colour of a crop's brightest pixels; of others, the first colour of all."""

    card = Card("clip", "mean", "mean", "1", "any")

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.texts: list[Any] = []

    def compare(self, pictures: Sequence[np.ndarray], texts: Sequence[Sequence[Any]]) -> list[np.ndarray]:
        self.shown += pictures
        self.texts += texts
        seen = {(255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue"}
        names = [
            next((seen[tuple(p)] for p in picture.reshape(-1, 3).tolist() if tuple(p) in seen), "")
            for picture in pictures
        ]
        return [np.array([color == name for color in COLORS], np.float32) for name in names]


def seen(one: Item, *boxes: Box, picture: np.ndarray = PICTURE, clip: Mean | None = None) -> Finding:
    (found,) = look(Judges(detector=Found(*boxes), clip=clip), [picture], [one])
    return dict(json.loads(json.dumps(found, allow_nan=False)))


def scores(found: Finding, name: str) -> list[float]:
    return [one["score"] for one in found[name]]


def test_confident_boxes_of_the_prompts_classes() -> None:
    boxes = [box("cup", 0.3, 0, 0, 5, 5), box("dog", 0.8, 0, 0, 5, 5), box("cup", 0.31, 0, 0, 5, 5),
             box("cup", 0.7, 9, 9, 15, 15)]  # fmt: skip
    found = seen(item(Wanted("cup", 1), Wanted("bowl", 1)), *boxes)
    assert list(found) == ["cup", "bowl"] and scores(found, "cup") == [0.7, 0.31] and found["bowl"] == []


def test_counting_needs_more_confidence() -> None:
    counted = item(Wanted("cup", 2), category="counting", exclude=(Wanted("cup", 3),))
    boxes = [box("cup", score, 5 * k, 0, 5 * k + 5, 5) for k, score in enumerate((0.9, 0.91, 0.8))]
    assert scores(seen(counted, *boxes), "cup") == [0.91]


@pytest.mark.parametrize("category", ["two_object", "counting"])
def test_scores_are_compared_in_float32(category: str) -> None:
    """The published evaluator's are: 0.3 of a detector is 0.30000001192.., which is not more than 0.3 to numpy."""
    threshold = {"two_object": 0.3, "counting": 0.9}[category]
    boxes = [box("cup", float(np.float32(threshold)), 0, 0, 5, 5), box("cup", threshold + 1e-6, 9, 0, 15, 5)]
    assert scores(seen(item(Wanted("cup", 1), category=category), *boxes), "cup") == [threshold + 1e-6]


def test_the_last_of_equals_comes_first() -> None:
    """As numpy's argsort has it when it is reversed: colour and place are asked of the best ones alone."""
    places = [(0.0, 0.0, 5.0, 5.0), (6.0, 0.0, 11.0, 5.0), (12.0, 0.0, 17.0, 5.0), (18.0, 0.0, 23.0, 5.0)]
    likely = np.array([0.8, 0.7, 0.8, 0.8], np.float32)
    boxes = [box("cup", float(score), *xyxy) for score, xyxy in zip(likely, places, strict=True)]
    found = seen(item(Wanted("cup", 1)), box("bowl", 0.75, 0, 10, 5, 15), *boxes)
    official = np.argsort(likely, kind="stable")[::-1]
    assert [tuple(one["xyxy"]) for one in found["cup"]] == [places[i] for i in official]
    assert official.tolist() == [3, 2, 0, 1]


def test_at_most_sixteen_of_a_class() -> None:
    boxes = [box("cup", 0.9 - k / 100, k, 0, k + 1, 1) for k in range(20)]
    assert len(seen(item(Wanted("cup", 1)), *boxes)["cup"]) == 16


@pytest.mark.parametrize(("label", "name"), [("sofa", "couch"), ("mouse", "computer mouse"), ("couch", "couch")])
def test_other_names_of_classes(label: str, name: str) -> None:
    assert scores(seen(item(Wanted(name, 1)), box(label, 0.9, 0, 0, 5, 5)), name) == [0.9]


def test_a_detector_of_other_things_is_refused() -> None:
    with pytest.raises(InputError, match="'sky-other-merged', which is no class of COCO"):
        seen(item(Wanted("cup", 1)), box("sky-other-merged", 0.9, 0, 0, 5, 5))


@pytest.mark.parametrize(
    ("other", "again"),
    [
        (box("bowl", 0.5, 0, 0, 10, 10), True),
        (box("bowl", 0.5, 0, 0, 10, 9), True),  # 90 of 100 pixels
        (box("bowl", 0.5, 0, 0, 10, 8), False),
        (box("cup", 0.5, 0, 0, 10, 10), True),  # of the same class
        (box("bowl", 0.5, 10, 0, 20, 10), False),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_which_finds_are_the_same_thing(other: Box, again: bool, masked: bool) -> None:
    first, second = (
        box(one.label, one.score, *one.xyxy, masked=masked) for one in (box("cup", 0.9, 0, 0, 10, 10), other)
    )
    found = seen(item(Wanted("cup", 1), Wanted("bowl", 1)), second, first)
    assert [(one["score"], one["again"]) for own in found.values() for one in own] == [(0.9, False), (0.5, again)]


def test_masks_tell_things_in_one_box_apart() -> None:
    """A plant in a vase: one box, two things."""
    cup, bowl = box("cup", 0.9, 0, 0, 10, 10, masked=True), box("bowl", 0.5, 0, 0, 10, 10, masked=True)
    assert cup.mask is not None and bowl.mask is not None
    cup.mask[:5], bowl.mask[5:] = False, False
    assert not seen(item(Wanted("cup", 1), Wanted("bowl", 1)), cup, bowl)["bowl"][0]["again"]


def test_another_class_that_is_not_asked_for_takes_nothing_away() -> None:
    found = seen(item(Wanted("cup", 1)), box("bowl", 0.9, 0, 0, 10, 10), box("cup", 0.5, 0, 0, 10, 10))
    assert [one["again"] for one in found["cup"]] == [False]


def test_an_object_on_grey() -> None:
    picture = np.arange(20 * 30 * 3, dtype=np.uint32).reshape(20, 30, 3).astype(np.uint8)
    one = box("cup", 0.9, 4, 6, 10, 9, masked=True)
    assert one.mask is not None
    one.mask[6, 4] = False
    cut = crop(picture, one)
    assert cut.shape == (3, 6, 3) and cut[0, 0].tolist() == [0x99] * 3
    assert np.array_equal(cut[1:], picture[7:9, 4:10]) and np.array_equal(cut[0, 1:], picture[6, 5:10])


@pytest.mark.parametrize(
    ("xyxy", "shape"), [((-3.2, 2.5, 4.5, 5.6), (4, 4)), ((29.6, 19.7, 40, 40), (1, 1)), ((3, 3, 3.2, 3.1), (1, 1))]
)
def test_boxes_without_masks_are_cut_at_the_edges(
    xyxy: tuple[float, float, float, float], shape: tuple[int, int]
) -> None:
    assert crop(PICTURE, box("cup", 0.9, *xyxy)).shape[:2] == shape


def test_colours_are_asked_of_the_objects_that_count() -> None:
    picture = PICTURE.copy()
    picture[:10, :10], picture[10:, :10], picture[:10, 20:] = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    clip = Mean()
    asked = item(Wanted("dog", 1, "red"), Wanted("cup", 1, "blue"), Wanted("bowl", 1), category="color_attr")
    boxes = [
        box("dog", 0.9, 0, 0, 10, 10),
        box("dog", 0.8, 20, 10, 30, 20),  # not among the best: nobody asks
        box("cup", 0.7, 0, 0, 10, 10),  # officially the best, but it is the dog
        box("cup", 0.6, 0, 10, 10, 20),
        box("bowl", 0.5, 20, 0, 30, 10),  # no colour wanted
    ]
    found = seen(asked, *boxes, picture=picture, clip=clip)
    assert {name: [one["color"] for one in own] for name, own in found.items()} == {
        "dog": ["red", None],
        "cup": ["red", "blue"],
        "bowl": [None],
    }
    assert len(clip.shown) == 3
    assert clip.texts[0][0] == ("a photo of a red cup", "a photo of a red-colored cup", "a photo of a red object")


def test_no_colour_no_clip() -> None:
    assert seen(item(Wanted("dog", 1, "red"), category="colors"), clip=None) == {"dog": []}
