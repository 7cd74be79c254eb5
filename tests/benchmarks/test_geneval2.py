"""GenEval 2: its file, what the judge is asked, Soft-TIFA by hand."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.benchmarks import registry
from silmm.benchmarks.geneval2 import geometric_mean
from silmm.benchmarks.interface import Finding, Item
from silmm.benchmarks.judges.interface import Answer, Card, Judges, Query
from silmm.benchmarks.pictures import find
from silmm.benchmarks.scores import scores_of
from silmm.errors import InputError, RecordError

GENEVAL2 = registry.get("geneval2")
COUNT, RED, DOGS = ["How many dogs are there?", "three"], ["Are the dogs red?", "Yes"], ["Are there any dogs?", "Yes"]
PLAYING = ["Are the dogs playing?", "Yes"]
LINE = {
    "prompt": "three red dogs", "atom_count": 3, "vqa_list": [COUNT, RED, DOGS],
    "skills": ["count", "attribute", "object"],
}  # fmt: skip
OTHER = {
    "prompt": "dogs playing", "atom_count": 4, "vqa_list": [DOGS, PLAYING], "skills": ["object", "verb"],
}  # fmt: skip


def written(folder: Path, *lines: Any) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "geneval2_data.jsonl").write_text("".join(f"{text}\n" for text in texts))
    return folder


def finding(*values: tuple[float, float, str]) -> Finding:
    return {
        key: list(own) for key, own in zip(("official", "corrected", "said"), zip(*values, strict=True), strict=True)
    }


def scores(items: Sequence[Item], seen: Sequence[Sequence[Finding]]) -> dict[tuple[str, str], float]:
    tallies = GENEVAL2.tallies(items, GENEVAL2.rows(items, seen))
    return {(score.variant, score.category): score.score for score in scores_of(GENEVAL2, tallies)}


PROBS = {"three": 0.4, "3": 0.1, "four": 0.2, "4": 0.0625, "yes": 0.75, "no": 0.25}
SPACE = 0.125


class Tokens:
    """Answers by spelling. A lone space has SPACE, which " 3" begins with: a digit counts it unless `whole`."""

    card = Card("vqa", "tokens", "tokens", "1", "any")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        self.asked += [query.text for own in asked for query in own]
        return [[self._answer(query) for query in own] for own in asked]

    def _answer(self, query: Query) -> Answer:
        extra = {choice: SPACE * (choice.isdigit() and not query.whole) for choice in query.choices}
        probs = {choice: PROBS.get(choice, 0.0) + extra[choice] for choice in query.choices}
        return Answer(tuple(probs.values()), max(probs, key=probs.__getitem__))


# --- scores -------------------------------------------------------------------------------------------------------


def test_scores_worked_by_hand(tmp_path: Path) -> None:
    items = GENEVAL2.read(written(tmp_path, LINE, OTHER))
    seen = [
        [finding((0.5, 0.25, "four"), (1.0, 1.0, "yes"), (0.25, 0.25, "no"))],
        [finding((0.9, 0.9, "yes"), (0.4, 0.4, "no"))],
    ]
    found = scores(items, seen)
    first, second = (0.5 * 1 * 0.25) ** (1 / 3), math.sqrt(0.36)
    assert first == pytest.approx(0.5)
    expected = {
        "count": 50.0, "attribute": 100.0, "object": (25 + 90) / 2, "verb": 40.0, "atoms_3": 50.0, "atoms_4": 60.0,
        "soft_tifa_am": 100 * (1.75 / 3 + 1.3 / 2) / 2, "soft_tifa_gm": 100 * (first + second) / 2,
    }  # fmt: skip
    official = {category: score for (variant, category), score in found.items() if variant == "official"}
    assert official == pytest.approx(expected)
    assert list(official)[-2:] == ["soft_tifa_am", "soft_tifa_gm"]
    assert found["corrected", "count"] == pytest.approx(25)
    assert found["corrected", "soft_tifa_am"] == pytest.approx(100 * (1.5 / 3 + 1.3 / 2) / 2)
    assert found["corrected", "object"] == found["official", "object"]
    rows = GENEVAL2.rows(items, seen)
    assert [(row.item_id, row.question_id, row.category, row.answer) for row in rows[:2]] == [
        ("0", "1", "count", "four"),
        ("0", "2", "attribute", "yes"),
    ]
    assert all(row.p == row.official for row in rows)


@pytest.mark.parametrize(
    ("values", "mean"),
    [((0.25, 1.0), 0.5), ((0.5, 0.0), 0.0), ((0.3,), 0.3), ((1e-200, 1e-200), 1e-200), ((1.0,) * 12, 1.0)],
)
def test_geometric_means(values: Sequence[float], mean: float) -> None:
    """The fourth is 0 where numbers are multiplied."""
    assert geometric_mean(values) == pytest.approx(mean, rel=1e-9, abs=0)


def test_a_lone_space_is_no_number(tmp_path: Path) -> None:
    """Officially 0.4 + 0.1 + 0.125 of the space that " 3" begins with; the space is no answer."""
    judge = Tokens()
    items = GENEVAL2.read(written(tmp_path, LINE))
    (found,) = GENEVAL2.look(Judges(vqa=judge), [np.zeros((2, 2, 3), np.uint8)], items)
    assert found["official"] == pytest.approx([0.625, 0.75, 0.75])
    assert found["corrected"] == pytest.approx([0.5, 0.75, 0.75])
    assert found["said"] == ["three", "yes", "yes"]
    json.dumps(found, allow_nan=False)
    assert set(judge.asked) == {f"{text} Answer in one word." for text, _ in (COUNT, RED, DOGS)}


def test_what_the_judge_says_may_be_another_number(tmp_path: Path) -> None:
    counted = {**LINE, "vqa_list": [["How many cats?", "four"], RED, DOGS]}
    (found,) = GENEVAL2.look(
        Judges(vqa=Tokens()), [np.zeros((2, 2, 3), np.uint8)], GENEVAL2.read(written(tmp_path, counted))
    )
    assert found["said"][0] == "three"
    assert (found["official"][0], found["corrected"][0]) == pytest.approx((0.2 + 0.0625 + 0.125, 0.2 + 0.0625))


def test_scores_do_not_depend_on_the_order_of_prompts(tmp_path: Path) -> None:
    seen = {
        "three red dogs": [finding((0.5, 0.25, "four"), (0.3, 0.3, "no"), (0.25, 0.25, "no"))],
        "dogs playing": [finding((0.9, 0.9, "yes"), (0.4, 0.4, "no"))],
    }
    found = []
    for lines in ((LINE, OTHER), (OTHER, LINE)):
        items = GENEVAL2.read(written(tmp_path, *lines))
        found.append(scores(items, [seen[item.prompt] for item in items]))
    assert found[0] == found[1]


def test_the_official_output(tmp_path: Path) -> None:
    items = GENEVAL2.read(written(tmp_path, LINE, OTHER))
    seen = [[finding((0.5, 0.4, "x"), (1.0, 1.0, "x"), (0.25, 0.2, "x"))], [finding((0.9, 0.9, "x"), (0.4, 0.4, "x"))]]
    assert GENEVAL2.write_official is not None
    GENEVAL2.write_official(tmp_path, items, GENEVAL2.rows(items, seen))
    assert json.loads((tmp_path / "score_lists.json").read_text()) == [[0.5, 1.0, 0.25], [0.9, 0.4]]


# --- pictures -----------------------------------------------------------------------------------------------------


def test_pictures_by_the_official_map_or_by_number(tmp_path: Path) -> None:
    items = GENEVAL2.read(written(tmp_path, LINE, OTHER))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("1.png", "0.png", "x.jpg", "y.jpg"):
        (pictures / name).write_bytes(b"")
    assert [ref.name for (ref,) in GENEVAL2.layout.locate(find([pictures]), items)] == ["0.png", "1.png"]
    named = {"dogs playing": "x.jpg", "three red dogs": "y.jpg", "a prompt of another benchmark": "x.jpg"}
    (pictures / "map.json").write_text(json.dumps(named))
    assert [ref.name for (ref,) in GENEVAL2.layout.locate(find([pictures / "map.json"]), items)] == ["y.jpg", "x.jpg"]


def test_the_map_that_we_write_is_one_that_we_read(tmp_path: Path) -> None:
    items = GENEVAL2.read(written(tmp_path, LINE, OTHER))
    names = GENEVAL2.layout.names(items)
    for name, text in GENEVAL2.layout.extras(items).items():
        (tmp_path / name).write_text(text)
    for (ref,) in names:
        (tmp_path / ref.name).write_bytes(b"")
    assert GENEVAL2.layout.locate(find([tmp_path / "images.json"]), items) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"three red dogs": "0.png"}', r"1 of 2 prompts have no picture \(dogs playing\)"),
        ('{"three red dogs": "0.png", "dogs playing": "gone.png"}', r"1 of 2 prompts have no picture"),
        ('{"three red dogs": "0.png", "dogs playing": "0.png", "dogs playing": "1.png"}', "where one is expected"),
        ('{"0": "0.png", "1": "1.png"}', r"2 of 2 prompts have no picture \(three red dogs, dogs playing\)"),
    ],
)
def test_maps_that_are_refused(tmp_path: Path, content: str, message: str) -> None:
    items = GENEVAL2.read(written(tmp_path, LINE, OTHER))
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(InputError, match=message):
        GENEVAL2.layout.locate(find([tmp_path / "map.json"]), items)


# --- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: not JSON"),
        ([LINE, ""], "line 2: not JSON"),
        ([LINE, [1]], "line 2: [1]: expected an object"),
        ([], "empty"),
        ([LINE, OTHER, LINE], "line 3: prompt 'three red dogs' is in line 1, too"),
        ([{**LINE, "prompt": " "}], "line 1: prompt is ' ': expected a text"),
        ([{**LINE, "atom_count": 11}], "atom_count is 11: expected 3 to 10"),
        ([{**LINE, "atom_count": True}], "atom_count is True"),
        ([{**LINE, "vqa_list": [], "skills": []}], "expected vqa_list, some questions"),
        ([{**LINE, "skills": ["count"]}], "and skills, as many"),
        ([{**LINE, "skills": ["count", "colour", "object"]}], "skill is 'colour': expected one of count"),
        ([{**LINE, "vqa_list": [COUNT, RED, ["why?"]]}], "expected a list of question and answer"),
        ([{**LINE, "vqa_list": [COUNT, RED, ["Is it red?", "No"]]}], "answer of 'Is it red?' is 'No'"),
        ([{**LINE, "vqa_list": [["How many dogs?", "eleven"], RED, DOGS]}], "is 'eleven': expected one of one"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, lines: list[Any], message: str) -> None:
    with pytest.raises(RecordError) as error:
        GENEVAL2.read(written(tmp_path, *lines))
    assert message in str(error.value) and "geneval2_data.jsonl" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_real_file() -> None:
    if "SILMM_BENCHMARKS" not in os.environ:
        pytest.skip("SILMM_BENCHMARKS, the folder of the official files, is not set")
    items = GENEVAL2.read(Path(os.environ["SILMM_BENCHMARKS"]) / "geneval2")
    assert Counter(item.category for item in items) == {f"atoms_{n}": 100 for n in range(3, 11)}
    skills = Counter(question.skill for item in items for question in item.facts)
    assert skills == {"count": 2025, "object": 2025, "attribute": 1214, "position": 662, "verb": 86}
    assert len(items) == GENEVAL2.prompts and sum(skills.values()) == 6012
    assert all(question.counts == (question.skill == "count") for item in items for question in item.facts)
    # every question right at 1/2 but one at 0: nothing but its own prompt's GM is lost
    seen = [[finding(*[(0.5, 0.5, "yes")] * len(item.facts))] for item in items]
    seen[0][0]["official"][0] = 0.0
    found = scores(items, seen)
    assert found["official", "soft_tifa_gm"] == pytest.approx(50 * 799 / 800)
    assert found["corrected", "soft_tifa_gm"] == found["corrected", "verb"] == pytest.approx(50)
