"""What the judges are asked about the pictures of each category."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from silmm.benchmarks.detectors import least, that_count
from silmm.benchmarks.interface import Finding, Item
from silmm.benchmarks.judges.interface import COUNTING, OBJECTS, Judges, Query
from silmm.benchmarks.t2i_compbench import numeracy, phrases, spatial_2d, spatial_3d
from silmm.benchmarks.t2i_compbench.boxes import depth_of
from silmm.benchmarks.t2i_compbench.prompts import ACTION, BOTH, SPATIAL
from silmm.benchmarks.t2i_compbench.scores import BOXES, PHRASES, TEXT
from silmm.benchmarks.t2i_compbench.words import Words, read_words

if TYPE_CHECKING:
    import numpy as np

DEPTH = "depth"  # is looked at, and asked about with the boxes
OF_CATEGORY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("color", "shape", "texture"), (PHRASES,)),
    "spatial_2d": (BOXES,),
    "spatial_3d": (BOXES, DEPTH),
    "numeracy": (BOXES,),
    "non_spatial": (TEXT,),
    "complex": (PHRASES, BOXES, TEXT),
}
OF_COMPLEX = {SPATIAL: (PHRASES, BOXES), ACTION: (PHRASES, TEXT), BOTH: (PHRASES, BOXES, TEXT)}
DETECTED = {"spatial_2d": spatial_2d, "spatial_3d": spatial_3d, "numeracy": numeracy, "complex": spatial_2d}


class Shown(NamedTuple):
    """Pictures, and the prompt of each."""

    pictures: Sequence[np.ndarray]
    items: Sequence[Item]
    words: dict[str, Words]


def kinds(item: Item) -> tuple[str, ...]:
    """What is looked at in the pictures of a prompt."""
    return OF_COMPLEX[item.facts] if item.category == "complex" else OF_CATEGORY[item.category]


def purpose(item: Item) -> str | None:
    """What the detector is asked for in the pictures of a prompt, if it is."""
    if BOXES not in kinds(item):
        return None
    return COUNTING if item.category == "numeracy" else OBJECTS


def words_of(items: Iterable[Item]) -> dict[str, Words]:
    """Of the prompts that must be parsed."""
    return read_words([item.prompt for item in items if is_parsed(item)])


def is_parsed(item: Item) -> bool:
    """Whether a prompt's nouns are asked about."""
    return item.category not in ("numeracy", "non_spatial")


def compared(item: Item, words: dict[str, Words]) -> str:
    """What CLIP compares: of a complex prompt without its adjectives (CLIPScore_eval/CLIP_similarity.py --complex)."""
    if item.category != "complex":
        return item.prompt
    return " ".join(word.text for word in words[item.prompt].words if word.pos != "ADJ")


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Item]) -> list[Finding]:
    """Of each picture what its prompt needs: `phrases` [[p_yes, p_no]], `text` (a cosine), `boxes` and `size`."""
    shown = Shown(pictures, items, words_of(items))
    found: list[Finding] = [{} for _ in items]
    for kind, see in ((PHRASES, _ask), (TEXT, _compare), (BOXES, _detect), (DEPTH, _measure)):
        if rows := [i for i, item in enumerate(items) if kind in kinds(item)]:
            see(judges, shown, rows, found)
    return found


def _ask(judges: Judges, shown: Shown, rows: Sequence[int], found: list[Finding]) -> None:
    assert judges.vqa is not None
    prompts = [shown.items[i].prompt for i in rows]
    asked = [[Query(f"{one}?") for one in phrases.asked(prompt, shown.words[prompt])] for prompt in prompts]
    for i, answers in zip(rows, judges.vqa.answer([shown.pictures[i] for i in rows], asked), strict=True):
        found[i][PHRASES] = [list(answer.probs) for answer in answers]


def _compare(judges: Judges, shown: Shown, rows: Sequence[int], found: list[Finding]) -> None:
    assert judges.clip is not None
    texts = [[compared(shown.items[i], shown.words)] for i in rows]
    for i, cosines in zip(rows, judges.clip.compare([shown.pictures[i] for i in rows], texts), strict=True):
        found[i][TEXT] = float(cosines[0])


def _detect(judges: Judges, shown: Shown, rows: Sequence[int], found: list[Finding]) -> None:
    assert judges.detector is not None
    labels = [
        DETECTED[item.category].labels(item, shown.words.get(item.prompt)) for item in (shown.items[i] for i in rows)
    ]
    purposes = [purpose(shown.items[i]) or OBJECTS for i in rows]
    asked = judges.detector.detect([shown.pictures[i] for i in rows], labels, least(judges.detector, purposes))
    for i, what, boxes in zip(rows, purposes, asked, strict=True):
        own = that_count(boxes, judges.detector.thresholds[what])
        found[i][BOXES] = [[box.label, box.score, list(box.xyxy), None] for box in own]
        found[i]["size"] = [shown.pictures[i].shape[1], shown.pictures[i].shape[0]]


def _measure(judges: Judges, shown: Shown, rows: Sequence[int], found: list[Finding]) -> None:
    """How near each box is, which `_detect` has found."""
    assert judges.depth is not None
    for i, depth_HW in zip(rows, judges.depth.depth([shown.pictures[i] for i in rows]), strict=True):
        for box in found[i][BOXES]:
            box[3] = list(depth_of(depth_HW, tuple(box[2])))
