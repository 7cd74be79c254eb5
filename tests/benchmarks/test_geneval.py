"""GenEval: its files, its folders, and from objects to right or wrong, by hand."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from silmm.benchmarks import registry
from silmm.benchmarks.geneval.prompts import TASKS
from silmm.benchmarks.geneval.scores import Seen, complaints, relative_position
from silmm.benchmarks.interface import Finding, Item
from silmm.benchmarks.pictures import find
from silmm.benchmarks.scores import scores_of
from silmm.errors import InputError, RecordError

GENEVAL = registry.get("geneval")
NAMES = ("person", "dog", "cup", "bowl", "clock")
ONE = {"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}
TWO = {
    "tag": "two_object", "include": [{"class": "cup", "count": 1}, {"class": "bowl", "count": 1}],
    "prompt": "a photo of a cup and a bowl",
}  # fmt: skip
COUNTED = {
    "tag": "counting", "include": [{"class": "clock", "count": 2}], "exclude": [{"class": "clock", "count": 3}],
    "prompt": "a photo of two clocks",
}  # fmt: skip
RED = {
    "tag": "colors", "include": [{"class": "dog", "count": 1, "color": "red"}], "prompt": "a photo of a red dog",
}  # fmt: skip
LEFT = {
    "tag": "position", "prompt": "a photo of a dog left of a cup",
    "include": [{"class": "cup", "count": 1}, {"class": "dog", "count": 1, "position": ["left of", 0]}],
}  # fmt: skip
BOTH = {
    "tag": "color_attr", "prompt": "a photo of a red dog and a blue cup",
    "include": [{"class": "dog", "count": 1, "color": "red"}, {"class": "cup", "count": 1, "color": "blue"}],
}  # fmt: skip
ALL = (ONE, TWO, COUNTED, RED, LEFT, BOTH)


def written(folder: Path, *lines: Any, names: Sequence[str] = NAMES) -> Path:
    (folder / "object_names.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "evaluation_metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def at(x: float, y: float = 0, *, score: float = 0.9, again: bool = False, color: str | None = None) -> Seen:
    """An object of 20 x 20 pixels around a point."""
    return Seen((x - 10, y - 10, x + 10, y + 10), score, again, color)


# --- right or wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "objects", "official"),
    [
        (ONE, {"dog": [at(0)]}, ""),
        (ONE, {"dog": [at(0), at(50), at(99)]}, ""),  # more than one is no fault
        (ONE, {"dog": []}, "expected dog>=1, found 0"),
        (TWO, {"cup": [at(0)], "bowl": []}, "expected bowl>=1, found 0"),
        (COUNTED, {"clock": [at(0), at(50)]}, ""),
        (COUNTED, {"clock": [at(0)]}, "expected clock>=2, found 1"),
        (COUNTED, {"clock": [at(0), at(50), at(99)]}, "expected clock<3, found 3"),
        (RED, {"dog": [at(0, color="red")]}, ""),
        (RED, {"dog": [at(0, color="blue"), at(50, color="red")]}, "expected red dog>=1, found blue"),  # the best one
        (LEFT, {"cup": [at(100)], "dog": [at(0)]}, ""),
        (LEFT, {"cup": [at(0)], "dog": [at(100)]}, "expected dog left of target, found right of"),
        (LEFT, {"cup": [at(0)], "dog": [at(2)]}, "expected dog left of target, found neither"),
        (LEFT, {"cup": [], "dog": [at(0)]}, "expected cup>=1, found 0; no target for dog to be left of"),
        (BOTH, {"dog": [at(0, color="red")], "cup": [at(50, color="blue")]}, ""),
        (BOTH, {"dog": [at(0, color="blue")], "cup": [at(50, color="red")]},
         "expected red dog>=1, found blue; expected blue cup>=1, found red"),
    ],
)  # fmt: skip
def test_pictures_by_hand(tmp_path: Path, line: Any, objects: dict[str, list[Seen]], official: str) -> None:
    (item,) = GENEVAL.read(written(tmp_path, line))
    assert "; ".join(complaints(item.facts, objects, False)) == official
    assert complaints(item.facts, objects, True) == complaints(item.facts, objects, False)


@pytest.mark.parametrize(
    ("line", "objects", "official", "corrected"),
    [
        # one thing, taken for a cup and for a bowl
        (TWO, {"cup": [at(0)], "bowl": [at(0, again=True)]}, True, False),
        (TWO, {"cup": [at(0)], "bowl": [at(0, again=True), at(50)]}, True, True),
        # one clock, found twice
        (COUNTED, {"clock": [at(0), at(0, again=True)]}, True, False),
        (COUNTED, {"clock": [at(0), at(0, again=True), at(50)]}, False, True),
        # the best cup is the dog; the next one is where it should be
        (LEFT, {"cup": [at(0, again=True), at(100)], "dog": [at(0)]}, False, True),
        (
            BOTH,
            {"dog": [at(0, color="red")], "cup": [at(0, again=True, color="red"), at(50, color="blue")]},
            False,
            True,
        ),
    ],
)
def test_a_thing_that_is_found_twice(
    tmp_path: Path, line: Any, objects: dict[str, list[Seen]], official: bool, corrected: bool
) -> None:
    (item,) = GENEVAL.read(written(tmp_path, line))
    assert (not complaints(item.facts, objects, False), not complaints(item.facts, objects, True)) == (
        official,
        corrected,
    )


@pytest.mark.parametrize(
    ("a", "b", "relations"),
    [
        ((0, 0, 20, 20), (100, 0, 120, 20), ["left of"]),
        ((100, 0, 120, 20), (0, 0, 20, 20), ["right of"]),
        ((0, 0, 20, 20), (0, 100, 20, 120), ["above"]),
        ((0, 100, 20, 120), (0, 0, 20, 20), ["below"]),
        # offset 100, 100; less 0.1 * 40: 96, 96; of 141.4: 0.68 each
        ((0, 0, 20, 20), (100, 100, 120, 120), ["left of", "above"]),
        # offset 100, 57: less 4: 96, 53; of 115.1: 0.834, 0.46
        ((0, 0, 20, 20), (100, 57, 120, 77), ["left of"]),
        # sizes 100 + 100: offset 40 less 20: 20; of 40: 0.5, not more
        ((0, 0, 100, 100), (40, 0, 140, 100), []),
        ((0, 0, 100, 100), (41, 0, 141, 100), ["left of"]),
        # large ones on a diagonal: offset 60, 60 less 20: 40; of 84.9: 0.47
        ((0, 0, 100, 100), (60, 60, 160, 160), []),
        ((0, 0, 20, 20), (0, 0, 20, 20), []),
        ((0, 0, 20, 20), (4, 0, 24, 20), []),
    ],
)
def test_relations_by_hand(a: Sequence[float], b: Sequence[float], relations: list[str]) -> None:
    assert relative_position(a, b) == relations


def finding(**objects: Sequence[Seen]) -> Finding:
    made = {name: [one._asdict() for one in own] for name, own in objects.items()}
    return dict(json.loads(json.dumps(made)))  # as it is kept


def test_scores_worked_by_hand(tmp_path: Path) -> None:
    items = GENEVAL.read(written(tmp_path, *ALL, {**ONE, "prompt": "a photo of the dog"}))
    good, bad = {"dog": [at(0, color="red")]}, {"dog": [at(0, color="blue")]}
    seen = [
        [finding(dog=[at(0)])] * 3 + [finding(dog=[])],
        [finding(cup=[at(0)], bowl=[at(0, again=True)])] * 2 + [finding(cup=[], bowl=[])] * 2,
        [finding(clock=[at(0), at(50)])] * 4,
        [finding(**good), finding(**bad), finding(**bad), finding(**bad)],
        [finding(cup=[at(0)], dog=[at(50)])] * 4,
        [finding(**good, cup=[at(50, color="blue")])] * 4,
        [finding(dog=[])] * 4,
    ]
    rows = GENEVAL.rows(items, seen)
    assert len(rows) == 28 and all(math.isnan(row.p) for row in rows)
    assert rows[0].answer == "right" and rows[3].answer == "expected dog>=1, found 0"
    assert rows[16].expected == "1 cup, 1 dog left of the first"
    found = {(s.variant, s.category): s.score for s in scores_of(GENEVAL, GENEVAL.tallies(items, rows))}
    shares = {
        "single_object": 3 / 8,
        "two_object": 1 / 2,
        "counting": 1,
        "colors": 1 / 4,
        "position": 0,
        "color_attr": 1,
    }
    assert [category for variant, category in found if variant == "official"] == [*TASKS, "overall"]
    for task, share in shares.items():
        assert found["official", task] == pytest.approx(100 * share)
    assert found["official", "overall"] == pytest.approx(100 * sum(shares.values()) / 6)
    assert found["corrected", "two_object"] == 0
    assert GENEVAL.write_official is not None
    GENEVAL.write_official(tmp_path, items, rows)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["correct"] for line in lines] == [bool(row.official) for row in rows]
    assert lines[5]["filename"] == "00001/samples/0001.png" and json.loads(lines[5]["metadata"]) == TWO


# --- pictures -----------------------------------------------------------------------------------------------------


def drawn(folder: Path, items: Sequence[Item]) -> Path:
    """Pictures (empty files) and metadata under their official names."""
    for own in GENEVAL.layout.names(items):
        for ref in own:
            (folder / ref.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / ref.name).write_bytes(b"")
    for name, text in GENEVAL.layout.extras(items).items():
        (folder / name).write_text(text)
    return folder


def test_what_is_drawn_here_is_found(tmp_path: Path) -> None:
    items = GENEVAL.read(written(tmp_path, *ALL))
    folder = drawn(tmp_path / "pictures", items)
    names = GENEVAL.layout.names(items)
    assert [ref.name for ref in names[2]] == [f"00002/samples/000{k}.png" for k in range(4)]
    assert GENEVAL.layout.locate(find([folder]), items) == names
    assert GENEVAL.layout.locate(find([folder]), items[2:4]) == names[2:4]
    assert all(item.seeds == (42,) * 4 for item in items)


def test_other_names_that_the_official_evaluator_takes(tmp_path: Path) -> None:
    """Numbers of other lengths (the published script writes five digits), a grid, no metadata, an archive."""
    items = GENEVAL.read(written(tmp_path, ONE))
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for name in ("0/grid.png", *(f"0/samples/{k}.png" for k in (10, 2, 0, 1)), "0/samples/0003.jpg"):
            archive.writestr(name, b"")
    (refs,) = GENEVAL.layout.locate(find([tmp_path / "pictures.zip"]), items)
    assert [ref.name for ref in refs] == [f"0/samples/{k}.png" for k in (0, 1, 2, 10)]


def remove(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def add(name: str, text: str = "") -> Callable[[Path], Any]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("00001/samples/0002.png"), r"1 of 6 prompts without exactly 4 pictures \(00001 has 3\)"),
        (add("00001/samples/0004.png"), r"\(00001 has 5\)"),
        (add("1/samples/0004.png"), r"\(00001 has 5\)"),
        (lambda f: (f / "00001/samples/0003.png").rename(f / "00001/samples/00.png"), r"00001 has a number twice"),
        (add("00001/metadata.jsonl", json.dumps(ONE)), r"1 files are of another prompt .*\(00001/metadata.jsonl\)"),
        (add("1/metadata.jsonl", json.dumps(ONE)), r"\(1/metadata.jsonl\)"),
        (add("00001/metadata.jsonl", json.dumps({**TWO, "include": ONE["include"]})), "of another prompt"),
        (add("00001/metadata.jsonl", "{"), "of another prompt"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    items = GENEVAL.read(written(tmp_path, *ALL))
    folder = drawn(tmp_path / "pictures", items)
    damage(folder)
    with pytest.raises(InputError, match=message):
        GENEVAL.layout.locate(find([folder]), items)


def test_metadata_may_say_more(tmp_path: Path) -> None:
    """As generators do that add a seed, or what they made of the prompt, under a key of their own."""
    items = GENEVAL.read(written(tmp_path, *ALL))
    folder = drawn(tmp_path / "pictures", items)
    more = {**items[1].facts.raw, "seed": 7, "rewritten": "a dog, in detail"}
    (folder / "00001/metadata.jsonl").write_text(json.dumps(more))
    assert GENEVAL.layout.locate(find([folder]), items) == GENEVAL.layout.names(items)


def test_what_metadata_says_otherwise_is_said(tmp_path: Path) -> None:
    items = GENEVAL.read(written(tmp_path, *ALL))
    folder = drawn(tmp_path / "pictures", items)
    rewritten = {**items[1].facts.raw, "prompt": "a dog, in detail"}
    (folder / "00001/metadata.jsonl").write_text(json.dumps(rewritten))
    with pytest.raises(InputError) as error:
        GENEVAL.layout.locate(find([folder]), items)
    said = str(error.value)
    assert f"prompt is 'a dog, in detail', officially {items[1].prompt!r}" in said
    assert "where prompts were rewritten, take these files away and give --note rewriting=.." in said
    del rewritten["prompt"]
    (folder / "00001/metadata.jsonl").write_text(json.dumps(rewritten))
    with pytest.raises(InputError, match="the first: no 'prompt'; number the folders"):
        GENEVAL.layout.locate(find([folder]), items)


def test_a_picture_in_two_places(tmp_path: Path) -> None:
    items = GENEVAL.read(written(tmp_path, ONE))
    folders = [drawn(tmp_path / name, items) for name in ("a", "b")]
    with pytest.raises(InputError, match="00000 has 8"):
        GENEVAL.layout.locate(find(folders), items)


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({**ONE, "tag": "style"}, "line 2: tag is 'style': expected one of single_object"),
        ({**ONE, "prompt": ""}, "line 2: prompt is ''"),
        ({**ONE, "include": []}, "include is empty"),
        ({**ONE, "include": "dog"}, "include is 'dog': expected a list"),
        ({**ONE, "include": ["dog"]}, "include[0]: 'dog': expected class, count"),
        ({**ONE, "include": [{"class": "dog", "count": 1, "colour": "red"}]}, "key 'colour'"),
        ({**ONE, "include": [{"class": "cat", "count": 1}]}, "class is 'cat': not in object_names.txt"),
        ({**ONE, "include": [{"class": "dog", "count": 0}]}, "count is 0: expected 1 or more"),
        ({**ONE, "include": [{"class": "dog", "count": 1, "color": "grey"}]}, "color is 'grey': expected one of red"),
        ({**LEFT, "include": LEFT["include"][1:]}, "its place is not before this one"),
        ({**LEFT, "include": [LEFT["include"][0], {"class": "dog", "count": 1, "position": ["behind", 0]}]}, "behind"),
        ({**COUNTED, "exclude": [{"class": "clock"}]}, "exclude[0]: count is None"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, line: Any, message: str) -> None:
    with pytest.raises(RecordError) as error:
        GENEVAL.read(written(tmp_path, ONE, line))
    assert message in str(error.value) and "evaluation_metadata.jsonl: line 2" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("names", [(), ("dog", ""), ("dog", "dog")])
def test_names_that_are_refused(tmp_path: Path, names: Sequence[str]) -> None:
    with pytest.raises(RecordError, match="object_names.txt: expected a name a line, each once"):
        GENEVAL.read(written(tmp_path, ONE, names=names))


def test_the_real_files() -> None:
    if "SILMM_BENCHMARKS" not in os.environ:
        pytest.skip("SILMM_BENCHMARKS, the folder of the official files, is not set")
    items = GENEVAL.read(Path(os.environ["SILMM_BENCHMARKS"]) / "geneval")
    sizes = (80, 99, 80, 94, 100, 100)
    assert Counter(item.category for item in items) == dict(zip(TASKS, sizes, strict=True))
    assert len(items) == GENEVAL.prompts and items[-1].id == "00552" and len(items[0].facts.names) == 80
    assert all(bool(item.facts.exclude) == (item.category == "counting") for item in items)
