"""Which finds of a detector count, and what a reader must know of it: its thresholds, and whether it found anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from silmm.benchmarks.interface import Benchmark, Finding, Item
from silmm.benchmarks.judges.interface import COUNTING, Box, Detector, Judges, Threshold


def least(detector: Detector, purposes: Sequence[str]) -> float:
    """The confidence to ask a detector for, where it is asked for several purposes in one call."""
    return min((detector.thresholds[purpose].least for purpose in purposes), default=1.0)


def that_count(boxes: Iterable[Box], threshold: Threshold) -> list[Box]:
    """The boxes above a threshold, best first, equals in their order; each thing once, where the threshold says so. In
    float32, as detectors give their scores."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if np.float32(box.score) > np.float32(threshold.least) and not any(
            box.label == better.label and iou(box.xyxy, better.xyxy) > threshold.overlap for better in kept
        ):
            kept.append(box)
    return kept


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


def about(
    benchmark: Benchmark, items: Sequence[Item], findings: Sequence[Sequence[Finding]], judges: Judges
) -> dict[str, Any]:
    """What run.json says of the detector, if there is one: `detector thresholds`, by purpose; and `warnings`, if any:
    categories in whose pictures it found nothing at all, and counting with a threshold that nobody compared with what
    people count.

    findings: [item][picture].
    """
    if judges.detector is None:
        return {}
    purposes = sorted({purpose for item in items if (purpose := benchmark.finds(item))})
    said = [*_blind(benchmark, items, findings, judges.detector), *_uncalibrated(judges.detector, purposes)]
    own = {purpose: judges.detector.thresholds[purpose]._asdict() for purpose in purposes}
    return {"detector thresholds": own} | ({"warnings": said} if said else {})


def _blind(
    benchmark: Benchmark, items: Sequence[Item], findings: Sequence[Sequence[Finding]], detector: Detector
) -> list[str]:
    found: Mapping[str, list[int]] = defaultdict(list)
    for item, seen in zip(items, findings, strict=True):
        if benchmark.finds(item):
            found[item.category] += [benchmark.found(finding) for finding in seen]
    return [
        f"{category}: the detector ({detector.card.model} {detector.card.source}) found no object of any prompt in any"
        f" of {len(counts)} pictures: look at some of them; if the objects are there, the detector does not see them,"
        " and the scores of this category mean nothing"
        for category, counts in found.items()
        if counts and not any(counts)
    ]


def _uncalibrated(detector: Detector, purposes: Sequence[str]) -> list[str]:
    threshold = detector.thresholds[COUNTING]
    if COUNTING not in purposes or threshold.calibrated:
        return []
    return [
        f"counting by {detector.card.model} is not calibrated: its threshold ({threshold.least:g}, after"
        f" {threshold.source}) was never compared with what people count: such counts compare with each other alone"
    ]
