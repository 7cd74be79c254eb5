"""What the detector finds in a picture of what its prompt names, and which colours CLIP sees there. The confidence that
a find must exceed is the detector's own (Mask2Former's are the published ones).

Source: djghosh13/geneval@af4902f: evaluation/evaluate_images.py (evaluate_image, color_classification).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from silmm.benchmarks.detectors import iou, least, that_count
from silmm.benchmarks.geneval.prompts import COLORS, Task
from silmm.benchmarks.geneval.scores import Seen, chosen
from silmm.benchmarks.interface import Finding, Item
from silmm.benchmarks.judges.interface import COUNTING, OBJECTS, Box, Judges, Threshold
from silmm.errors import InputError

if TYPE_CHECKING:
    import numpy as np

MOST = 16  # objects of a class
SAME = 0.9  # intersection over union from which two finds are one thing
GREY = 0x99  # of what is not the object, where the colour is looked at
# Other names of COCO's classes: those of COCO itself, and those in transformers' conversions (which say "sofa").
COCO = {
    "mouse": "computer mouse", "remote": "tv remote", "keyboard": "computer keyboard", "aeroplane": "airplane",
    "motorbike": "motorcycle", "sofa": "couch", "pottedplant": "potted plant", "diningtable": "dining table",
    "tvmonitor": "tv", "hair dryer": "hair drier",
}  # fmt: skip
TEMPLATES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")


class Crop(NamedTuple):
    """An object whose colour is wanted."""

    place: tuple[int, str, int]  # picture, class, number among the class's objects
    pixels_HWC: np.ndarray


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Item]) -> list[Finding]:
    """Of each picture and each class that its prompt names, at most MOST objects, best first: `xyxy`, `score`, `again`
    (a better find of a named class is the same thing), and `color` where one is wanted.

    The detector is asked for all of the 80 classes, whatever the prompt, because one with a vocabulary of its own looks
    for all of them. Raises InputError for a detector that knows other classes.
    """
    assert judges.detector is not None
    own = judges.detector.thresholds
    boxes = judges.detector.detect(
        pictures, [item.facts.names for item in items], least(judges.detector, [purpose(item) for item in items])
    )
    kept = [_kept(item, found, own[purpose(item)]) for item, found in zip(items, boxes, strict=True)]
    found = [{name: _seen(own, name) for name in _named(item.facts)} for item, own in zip(items, kept, strict=True)]
    crops = [crop for i, item in enumerate(items) for crop in _crops(i, item.facts, kept[i], found[i], pictures[i])]
    for crop, color in zip(crops, _colors(judges, crops), strict=True):
        i, name, number = crop.place
        found[i][name][number] = found[i][name][number]._replace(color=color)
    return [{name: [one._asdict() for one in seen] for name, seen in own.items()} for own in found]


def _named(task: Task) -> list[str]:
    return list(dict.fromkeys(wanted.name for wanted in (*task.include, *task.exclude)))


def purpose(item: Item) -> str:
    """What the detector is asked for: counting prompts have a threshold of their own."""
    return COUNTING if item.category == "counting" else OBJECTS


def _kept(item: Item, boxes: Sequence[Box], threshold: Threshold) -> list[tuple[Box, bool]]:
    """The boxes that count, best first, by the names of the official file; whether each is found again. Of equals the
    last comes first: the published code sorts by numpy's argsort, reversed."""
    counts = dict.fromkeys(_named(item.facts), 0)
    kept: list[tuple[Box, bool]] = []
    named = [box._replace(label=_official(box.label, item.facts.names)) for box in reversed(boxes)]
    for box in that_count(named, threshold):
        if box.label in counts and counts[box.label] < MOST:
            counts[box.label] += 1
            kept.append((box, any(_is_same(box, other) for other, again in kept if not again)))
    return kept


def _official(label: str, names: Sequence[str]) -> str:
    name = label if label in names else COCO.get(label, label)
    if name not in names:
        raise InputError(
            f"the detector found {label!r}, which is no class of COCO: what it calls by other names would be"
            " missed without a word; give one that was trained on COCO's objects"
        )
    return name


def _is_same(a: Box, b: Box) -> bool:
    """By their masks; where the detector gives none, by the boxes."""
    if a.mask is not None and b.mask is not None:
        both, either = int((a.mask & b.mask).sum()), int((a.mask | b.mask).sum())
        return both >= SAME * either > 0
    return iou(a.xyxy, b.xyxy) >= SAME


def _seen(kept: Sequence[tuple[Box, bool]], name: str) -> list[Seen]:
    return [Seen(box.xyxy, box.score, again) for box, again in kept if box.label == name]


def _crops(
    i: int, task: Task, kept: Sequence[tuple[Box, bool]], found: dict[str, list[Seen]], picture_HWC: np.ndarray
) -> list[Crop]:
    """The objects that either variant takes for one whose colour is asked."""
    numbers = {
        (wanted.name, number)
        for wanted in task.include if wanted.color is not None
        for corrected in (False, True)
        for number in chosen(found[wanted.name], wanted.number, corrected)
    }  # fmt: skip
    crops = []
    for name, number in sorted(numbers):
        box = [box for box, _ in kept if box.label == name][number]
        crops.append(Crop((i, name, number), crop(picture_HWC, box)))
    return crops


def crop(picture_HWC: np.ndarray, box: Box) -> np.ndarray:
    """The object alone, on grey, uint8 [h, w, 3]; without a mask, what is in its box. At least one pixel."""
    height, width = picture_HWC.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in box.xyxy)
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    area = slice(y0, max(min(y1, height), y0 + 1)), slice(x0, max(min(x1, width), x0 + 1))
    cut_HWC = picture_HWC[area].copy()
    if box.mask is not None:
        cut_HWC[~box.mask[area]] = GREY
    return cut_HWC


def _colors(judges: Judges, crops: Sequence[Crop]) -> list[str]:
    """Of each object the colour whose templates are the nearest to it in CLIP's space, the first of equals."""
    if not crops:
        return []
    assert judges.clip is not None
    texts = [[_wordings(color, crop.place[1]) for color in COLORS] for crop in crops]
    cosines = judges.clip.compare([crop.pixels_HWC for crop in crops], texts)
    return [COLORS[int(own.argmax())] for own in cosines]


def _wordings(color: str, name: str) -> tuple[str, ...]:
    return tuple(template.format(color=color, name=name) for template in TEMPLATES)
