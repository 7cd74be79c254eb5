"""3D relations ("a dog in front of a desk"): both objects a quarter each, by confidence, the relation a half.

The arithmetic of Karine-Huang/T2I-CompBench@1b70949 (UniDet_eval/3D_spatial_eval.py), but for the depth map's 256
steps. Its faults, which `official` has and `corrected` has not:
- The depth map is read with rows and columns exchanged: the depth of a box is that of its mirror image.
- A noun is looked for within labels, so that "car" is found in "card"; of several boxes the last one may be taken, not
  the best. `corrected` takes whole words and the best box.
- Two of a kind are the same box. `corrected` takes two.
- Things in front of or behind each other must overlap by half, or lose (issue #23), although most do not. `corrected`
  asks for the order of depths alone; what is hidden must still be overlapped.
- An overlap of exactly a half counts for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from silmm.benchmarks.interface import Item
from silmm.benchmarks.t2i_compbench.boxes import Part, Seen, best, overlap
from silmm.benchmarks.t2i_compbench.spatial_2d import called, objects
from silmm.benchmarks.t2i_compbench.words import Words

RELATIONS = ("in front of", "behind", "hidden")
HALF = 0.5  # overlap


def relation(prompt: str) -> str | None:
    """The relation of a prompt."""
    return next((words for words in RELATIONS if words in prompt), None)


def labels(item: Item, words: Words) -> tuple[str, ...]:
    """What a detector without a vocabulary of its own is to look for."""
    return tuple(dict.fromkeys(called(noun) for noun in objects(item, words) or ()))


def parts(item: Item, words: Words, boxes: Sequence[Seen], size: tuple[int, int]) -> list[Part]:
    """First object, second object, relation."""
    nouns = objects(item, words) or ("", "")
    asked = relation(item.prompt)
    official = _values(*_found_within(boxes, [called(noun) for noun in nouns]), asked, official=True)
    first = best(boxes, nouns[0]) if nouns[0] else None
    second = best(boxes, nouns[1], but=first) if nouns[1] else None
    corrected = _values(first, second, asked, official=False)
    questions = (f"{nouns[0]}?", f"{nouns[1]}?", f"{nouns[0]} {asked} {nouns[1]}?")
    degree = 2 * corrected[2]
    answers = (first.label if first else "none", second.label if second else "none", "yes" if degree == 1 else "no")
    p = (first.score if first else 0.0, second.score if second else 0.0, degree)
    return [Part(str(k), questions[k], "yes", answers[k], p[k], official[k], corrected[k]) for k in range(3)]


def _found_within(boxes: Sequence[Seen], nouns: Sequence[str]) -> tuple[Seen | None, Seen | None]:
    """As the published code goes through the boxes: until it has both, it takes the latest of each."""
    first, second = nouns
    both = all(noun and any(noun in box.label for box in boxes) for noun in nouns)
    if not both:
        one = next((box for box in boxes if first and first in box.label), None)
        other = next((box for box in boxes if second and second in box.label), None)
        return one, other
    found: list[Seen | None] = [None, None]
    for box in boxes:
        for k, noun in enumerate(nouns):
            if noun in box.label:
                found[k] = box
        if all(found):
            break
    return found[0], found[1]


def _values(first: Seen | None, second: Seen | None, asked: str | None, *, official: bool) -> list[float]:
    values = [0.25 * box.score if box else 0.0 for box in (first, second)]
    degree = holds(asked, first, second, official=official) if first and second else 0.0
    return [*values, 0.5 * degree]


def holds(asked: str | None, a: Seen, b: Seen, *, official: bool) -> float:
    """How far the relation holds, 0 to 1. Depths that are not known hold for nothing."""
    depth_a, depth_b = (box.depth[0 if official else 1] if box.depth else None for box in (a, b))
    if asked is None or depth_a is None or depth_b is None:
        return 0.0
    right = depth_a > depth_b if asked == "in front of" else depth_a < depth_b
    if not right:
        return 0.0
    shared = overlap(a.xyxy, b.xyxy)
    if official:
        return 1.0 if shared > HALF else shared / HALF if shared < HALF else 0.0
    return min(1.0, shared / HALF) if asked == "hidden" else 1.0
