"""Thresholds belong to a detector, and a detector that sees nothing is no bad model: both are said."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from silmm.benchmarks import registry
from silmm.benchmarks.detectors import iou, that_count
from silmm.benchmarks.geneval.benchmark import BENCHMARK as GENEVAL
from silmm.benchmarks.interface import Item
from silmm.benchmarks.judges import load as loading
from silmm.benchmarks.judges import mask2former, owl
from silmm.benchmarks.judges.interface import COUNTING, OBJECTS, Box, Card, Judges, Threshold
from silmm.benchmarks.t2i_compbench.benchmark import BENCHMARK as T2I
from silmm.stages import benchmark

NUMBERS = {"two": 2, "three": 3, "four": 4}
COUNTED = [
    {"tag": "counting", "include": [{"class": "clock", "count": n}], "exclude": [{"class": "clock", "count": n + 1}],
     "prompt": f"a photo of {word} clocks"}
    for word, n in NUMBERS.items()
]  # fmt: skip
ONE = {"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}


class Found:
    """A detector of a kind that finds what it is told to find by a picture's brightness."""

    def __init__(self, kind: Any, find: Callable[[int], list[Box]]) -> None:
        self.card = Card("detector", kind.__name__.rsplit(".")[-1], "there", "sha256:0", "any")
        self.thresholds, self.find = kind.THRESHOLDS, find

    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        found = [self.find(int(picture[0, 0, 0])) for picture in pictures]
        return [[box for box in boxes if box.score >= least] for boxes in found]


def perfect(number: int) -> list[Box]:
    """As many clocks as a picture has, with OWLv2's low confidence, each found twice; of none, a dog."""
    if not number:
        return [Box("dog", 0.4, (0, 0, 20, 20))]
    ones = [Box("clock", 0.25 + k / 20, (40.0 * k, 0, 40.0 * k + 30, 30)) for k in range(number)]
    again = [box._replace(score=box.score - 0.02, xyxy=(box.xyxy[0] + 8, 3, box.xyxy[2] + 8, 33)) for box in ones]
    return sorted([*ones, *again], key=lambda box: -box.score)


@pytest.fixture
def evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Found], Path]:
    monkeypatch.setattr(registry, "get", lambda name: GENEVAL._replace(files=(), prompts=None))
    lines = [*COUNTED, ONE]
    (tmp_path / "evaluation_metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "object_names.txt").write_text("dog\nclock\n")
    for i, number in enumerate((*NUMBERS.values(), 0)):
        for k in range(4):
            file = tmp_path / f"pictures/{i:05d}/samples/{k}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (200, 60), (number,) * 3).save(file)

    def run(detector: Found) -> Path:
        monkeypatch.setattr(loading, "load", lambda role, source: detector)
        pictures = (tmp_path / "pictures",)
        benchmark.run(name="geneval", data=tmp_path, images=pictures, judge={"detector": "there"}, out=tmp_path / "out")
        return tmp_path / "out"

    return run


def score(out: Path, category: str) -> float:
    lines = [line.split(",") for line in (out / "scores.csv").read_text().splitlines()]
    return next(float(line[4]) for line in lines if line[2:4] == ["official", category])


def test_each_detector_has_thresholds_of_its_own(
    evaluate: Callable[[Found], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """At the thresholds of Mask2Former, the one and only difference, every count here is 0."""
    out = evaluate(Found(owl, perfect))
    assert score(out, "counting") == 100 and score(out, "single_object") == 100
    about = json.loads((out / "run.json").read_text())
    assert about["detector thresholds"][COUNTING] == owl.THRESHOLDS[COUNTING]._asdict()
    assert about["detector thresholds"][OBJECTS]["least"] == owl.THRESHOLDS[OBJECTS].least == 0.2
    (warning,) = about["warnings"]
    assert "counting by owl is not calibrated: its threshold (0.2, after SLD" in warning
    assert f"benchmark: warning: {warning}" in capsys.readouterr().err.splitlines()
    page = (out / "table.md").read_text()
    assert page.count(f"**Warning: {warning}.**") == 1 and "- detector thresholds: counting least 0.2; " in page


def test_the_published_thresholds_are_its_detectors(
    evaluate: Callable[[Found], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    def sure(number: int) -> list[Box]:
        return [box._replace(score=box.score + 0.6) for box in perfect(number)]  # 0.85, 0.9, 0.95, ..; again: 0.02 less

    out = evaluate(Found(mask2former, sure))
    assert score(out, "counting") == 33.3333  # of four clocks 0.95, 1.0, 0.93, 0.98 exceed 0.9
    about = json.loads((out / "run.json").read_text())
    assert {name: one["least"] for name, one in about["detector thresholds"].items()} == {COUNTING: 0.9, OBJECTS: 0.3}
    assert "warnings" not in about and "warning" not in capsys.readouterr().err
    assert "Warning" not in (out / "table.md").read_text()


@pytest.mark.parametrize(
    ("find", "blind"),
    [
        (lambda number: [], {"counting": 12, "single_object": 4}),
        (lambda number: [Box("dog", 0.9, (0, 0, 9, 9))] if number == 0 else [], {"counting": 12}),
        (lambda number: [Box("dog", 0.95, (0, 0, 9, 9))], {"counting": 12}),  # nothing that those prompts name
        (lambda number: [Box("dog", 0.95, (0, 0, 9, 9)), Box("clock", 0.95, (0, 0, 9, 9))], {}),
    ],
)
def test_a_blind_detector_is_named(
    evaluate: Callable[[Found], Path], capsys: pytest.CaptureFixture[str], find: Callable[[int], list[Box]],
    blind: dict[str, int],
) -> None:  # fmt: skip
    out = evaluate(Found(mask2former, find))
    told = json.loads((out / "run.json").read_text()).get("warnings", [])
    assert [warning.split(":")[0] for warning in told] == list(blind)
    page, screen = (out / "table.md").read_text(), capsys.readouterr().err
    for warning, count in zip(told, blind.values(), strict=True):
        assert f"(mask2former there) found no object of any prompt in any of {count} pictures" in warning
        assert f"**Warning: {warning}.**" in page and warning in screen


@pytest.mark.parametrize(("category", "kept"), [("numeracy", [0.95]), ("spatial_2d", [0.95, 0.4])])
def test_t2i_compbench_takes_the_detectors_thresholds(
    category: str, kept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silmm.benchmarks.t2i_compbench.seeing.words_of", lambda items: {})
    monkeypatch.setattr("silmm.benchmarks.t2i_compbench.spatial_2d.labels", lambda item, words: ("dog",))
    detector = Found(mask2former, lambda _: [Box("dog", score, (0, 0, 9, 9)) for score in (0.95, 0.4, 0.3)])
    item = Item("x", "a dog", category, (42,), (("dog", 1),))
    (found,) = T2I.look(Judges(detector=detector), [np.zeros((9, 9, 3), np.uint8)], [item])
    assert [score for _, score, *_ in found["boxes"]] == kept and T2I.found(found) == len(kept)
    assert T2I.finds(item) == (COUNTING if category == "numeracy" else OBJECTS)
    assert T2I.finds(item._replace(category="non_spatial")) is None


def test_a_thing_counts_once_where_the_threshold_says_so() -> None:
    boxes = [Box("dog", 0.9, (0, 0, 10, 10)), Box("dog", 0.8, (0, 0, 10, 8)), Box("cat", 0.7, (0, 0, 10, 8))]
    assert iou(boxes[0].xyxy, boxes[1].xyxy) == 0.8 and iou(boxes[0].xyxy, (20, 0, 30, 10)) == 0
    assert that_count(boxes, Threshold(0.5, "", True)) == boxes
    assert that_count(boxes, Threshold(0.5, "", True, overlap=0.7)) == [boxes[0], boxes[2]]  # another label stays
    assert that_count(boxes, Threshold(0.8, "", True, overlap=0.7)) == boxes[:1]
