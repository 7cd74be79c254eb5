"""TIFA: its files, the choice of an answer, its published arithmetic; the authors' sample from their own answers."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.benchmarks import registry
from silmm.benchmarks.interface import Finding, Item, Tally
from silmm.benchmarks.judges.interface import Answer, Card, Judges, Query
from silmm.benchmarks.pictures import find
from silmm.benchmarks.tifa.choosing import join, most_probable, nearest, part
from silmm.benchmarks.tifa.questions import Question
from silmm.errors import RecordError

TIFA = registry.get("tifa")
YES_NO, COLOURS = ("yes", "no"), ("red", "light blue", "light green", "black")


@pytest.fixture(scope="module")
def official() -> Path:
    if "SILMM_BENCHMARKS" not in os.environ:
        pytest.skip("SILMM_BENCHMARKS, the folder of the official files, is not set")
    return Path(os.environ["SILMM_BENCHMARKS"]) / "tifa"


def written(folder: Path, prompts: Sequence[str], questions: Sequence[Any]) -> Path:
    """Prompts: their ids. Questions: (id, answer, choices, type), or what else."""
    keys = ("id", "answer", "choices", "element_type")
    rows = [
        {**dict(zip(keys, row, strict=True)), "question": "which?"} if type(row) is tuple else row for row in questions
    ]
    texts = [{"id": name, "caption": f"a {name}"} for name in prompts]
    (folder / "tifa_v1.0_text_inputs.json").write_text(json.dumps(texts))
    (folder / "tifa_v1.0_question_answers.json").write_text(json.dumps(rows))
    return folder


class Letters:
    """Embeds a text by how often it has each letter; the empty text by nothing."""

    card = Card("sentences", "letters", "letters", "1", "")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts_ND = np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)
        return counts_ND / np.maximum(np.linalg.norm(counts_ND, axis=1, keepdims=True), 1e-9)


class Table:
    """Answers by question: what it writes, and the probabilities of the choices."""

    card = Card("vqa", "table", "table", "1", "any")

    def __init__(self, said: dict[str, tuple[str, tuple[float, ...]]]) -> None:
        self.said = said

    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        assert all(query.free for own in asked for query in own)
        return [[Answer(self.said[q.text][1][: len(q.choices)], self.said[q.text][0]) for q in own] for own in asked]


# --- choosing -----------------------------------------------------------------------------------------------------


def test_a_choice_to_the_letter_is_taken_and_others_for_the_nearest() -> None:
    embedder = Letters()
    written = ["red", "blueish", "Yes", "zz"]
    assert nearest(embedder, written, [COLOURS, COLOURS, YES_NO, COLOURS]) == ["red", "light blue", "yes", "red"]
    assert len(embedder.asked) == len(set(embedder.asked))  # each text once
    assert nearest(embedder, ["no"], [YES_NO]) == ["no"]


@pytest.mark.parametrize(
    ("probs", "preferred", "chosen"),
    [
        ((0.1, 0.6, 0.6, 0.2), "light green", "light green"),  # both begin with "light"
        ((0.1, 0.6, 0.6, 0.2), "red", "light blue"),
        ((0.5, 0.1, 0.1, 0.2), "black", "red"),
    ],
)
def test_the_choice_that_the_judge_finds_likeliest(probs: Sequence[float], preferred: str, chosen: str) -> None:
    assert most_probable(probs, COLOURS, preferred) == chosen


@pytest.mark.parametrize(
    ("told", "chosen"), [("red", "red"), ("rose", "red"), ("", "black"), ("a -> b", "light blue"), ("x", "a -> red")]
)
def test_what_was_written_and_chosen_come_back_from_one_text(told: str, chosen: str) -> None:
    assert part(join(told, chosen), (*COLOURS, "a -> red")) == (told, chosen)


# --- scores -------------------------------------------------------------------------------------------------------


def score(tallies: Sequence[Tally], variant: str, category: str = "all") -> float:
    own = [tally for tally in tallies if (tally.variant, tally.category) == (variant, category)]
    return sum(tally.total for tally in own) / sum(tally.weight for tally in own)


def finding(*told: tuple[str, str, tuple[float, ...]]) -> list[Finding]:
    written, chosen, probs = zip(*told, strict=True)
    return [{"written": list(written), "chosen": list(chosen), "probs": [list(p) for p in probs]}]


def test_scores_worked_by_hand(tmp_path: Path) -> None:
    questions = [
        ("b_1", "yes", YES_NO, "object"),
        ("a_1", "red", COLOURS, "color"),
        ("b_1", "no", YES_NO, "object"),
        ("b_1", "red", COLOURS, "color"),
    ]
    items = TIFA.read(written(tmp_path, ["a_1", "b_1"], questions))
    assert [(item.id, item.category, len(item.facts)) for item in items] == [("b_1", "b", 3), ("a_1", "a", 1)]
    seen = [
        finding(("yes", "yes", (0.8, 0.1)), ("yes", "yes", (0.4, 0.5)), ("rosa", "black", (0.4, 0.1, 0.1, 0.3))),
        finding(("red", "red", (0.3, 0.1, 0.1, 0.4))),
    ]
    rows = TIFA.rows(items, seen)
    assert [(row.official, row.corrected) for row in rows] == [(1, 1), (0, 1), (0, 1), (1, 0)]
    assert [row.answer for row in rows] == ["yes", "yes", "rosa -> black", "red"]
    assert [row.p for row in rows] == [0.8, 0.5, 0.4, 0.3]
    tallies = TIFA.tallies(items, rows)
    assert score(tallies, "official") == pytest.approx((1 / 3 + 1) / 2)
    assert score(tallies, "official", "object") == score(tallies, "official", "color") == 1 / 2
    assert (score(tallies, "corrected"), score(tallies, "corrected", "color")) == ((1 + 0) / 2, 1 / 2)


def test_an_answer_that_cannot_be_chosen_is_counted(tmp_path: Path) -> None:
    items = TIFA.read(written(tmp_path, ["a_1"], [("a_1", "green", COLOURS, "color")]))
    assert TIFA.notes(items) == {"questions whose answer is none of their choices": 1}
    (row,) = TIFA.rows(items, [finding(("green", "light green", (0.1, 0.2, 0.2, 0.1)))])
    assert (row.official, row.corrected) == (0.0, 0.0) and math.isnan(row.p)


def test_the_sample_comes_out_of_its_own_answers(official: Path, tmp_path: Path) -> None:
    for name in ("text_inputs", "question_answers"):
        (tmp_path / f"tifa_v1.0_{name}.json").write_bytes((official / f"sample_{name}.json").read_bytes())
    published = json.loads((official / "sample_evaluation_result.json").read_text())
    items = TIFA.read(tmp_path)
    details = [list(published["question_details"][item.id].values()) for item in items]
    seen = [
        finding(*((d["free_form_vqa"], d["multiple_choice_vqa"], (0.5,) * len(d["choices"])) for d in own))
        for own in details
    ]
    rows = TIFA.rows(items, seen)
    tallies = TIFA.tallies(items, rows)
    assert score(tallies, "official") == published["tifa_average"] == 0.8125
    for kind, value in published["accuracy_by_type"].items():
        assert score(tallies, "official", kind) == value
    assert TIFA.write_official is not None
    TIFA.write_official(tmp_path, items, rows)
    made = (tmp_path / "tifa_result.json").read_text()
    assert made.rstrip("\n") == json.dumps(published, indent=4)
    assert TIFA.files[0].path == "tifa_v1.0_text_inputs.json"


def test_the_sample_looked_at(official: Path, tmp_path: Path) -> None:
    """From what the authors' judge wrote, whatever the embedder: all but "0" are choices to the letter."""
    for name in ("text_inputs", "question_answers"):
        (tmp_path / f"tifa_v1.0_{name}.json").write_bytes((official / f"sample_{name}.json").read_bytes())
    published = json.loads((official / "sample_evaluation_result.json").read_text())
    items = TIFA.read(tmp_path)
    said = {
        name: (d["free_form_vqa"], (0.4, 0.3, 0.2, 0.1))
        for own in published["question_details"].values()
        for name, d in own.items()
    }
    embedder = Letters()
    pictures = [np.zeros((2, 2, 3), np.uint8)] * 2
    found = TIFA.look(Judges(vqa=Table(said), sentences=embedder), pictures, items)
    assert [one["written"] for one in found] == [[said[q.text][0] for q in item.facts] for item in items]
    assert sorted(embedder.asked) == ["0", "1", "2", "3", "4"]
    json.dumps(found, allow_nan=False)
    tallies = TIFA.tallies(items, TIFA.rows(items, [[one] for one in found]))
    assert score(tallies, "official") == 0.8125


def test_scores_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    questions = [(f"a_{i}", "yes", YES_NO, ("object", "color")[i % 2]) for i in range(4) for _ in range(i + 1)]
    found = []
    for order in (1, -1):
        items: list[Item] = TIFA.read(written(tmp_path, ["a_0", "a_1", "a_2", "a_3"], questions[::order]))
        seen = [finding(*[(YES_NO[int(item.id[-1]) // 2], YES_NO[int(item.id[-1]) // 2], (1, 0))] * len(item.facts))
                for item in items]  # fmt: skip
        tallies = TIFA.tallies(items, TIFA.rows(items, seen))
        found.append([score(tallies, "official", category) for category in ("all", "object", "color")])
    assert found[0] == found[1] == [0.5, 1 / 4, 2 / 6]


# --- files --------------------------------------------------------------------------------------------------------

GOOD = ("a_1", "yes", YES_NO, "object")


@pytest.mark.parametrize(
    ("prompts", "questions", "message"),
    [
        (["a_1"], [GOOD, ("z_1", *GOOD[1:])], "questions of 1 unknown prompts (z_1)"),
        (["a_1", "a_2"], [GOOD], "1 prompts have no questions (a_2)"),
        (["a_1", "a_1"], [GOOD], "prompt 2: a_1 is there twice"),
        (["a/1"], [GOOD], "id is 'a/1'"),
        (["a_1"], [("a_1", "yes", ["yes"], "object")], "question 1: choices is ['yes']"),
        (["a_1"], [("a_1", "yes", [1, 2], "object")], "question 1: choices is [1, 2]"),
        (["a_1"], [GOOD, {"id": "a_1", "choices": ["a", "b"]}], "question 2: question is None"),
        (["a_1"], [], "expected a list of objects"),
        (["a_1"], ["a_1"], "expected a list of objects"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, prompts: Sequence[str], questions: Sequence[Any], message: str) -> None:
    with pytest.raises(RecordError) as error:
        TIFA.read(written(tmp_path, prompts, questions))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_by_a_map_or_by_name(tmp_path: Path) -> None:
    items = TIFA.read(written(tmp_path, ["a_1"], [GOOD]))
    (tmp_path / "x.jpg").write_bytes(b"")
    (tmp_path / "a_1.jpg").write_bytes(b"")
    (tmp_path / "map.json").write_text('{"a_1": "x.jpg", "other": "gone.png"}')
    assert TIFA.layout.locate(find([tmp_path / "map.json"]), items)[0][0].name == "x.jpg"
    assert TIFA.layout.locate(find([tmp_path]), items)[0][0].name == "a_1.jpg"
    assert json.loads(TIFA.layout.extras(items)["imgs.json"]) == {"a_1": "a_1.png"}


def test_the_real_prompts(official: Path, tmp_path: Path) -> None:
    """With one question each, since the published ones could not be had."""
    (tmp_path / "tifa_v1.0_text_inputs.json").write_bytes((official / "tifa_v1.0_text_inputs.json").read_bytes())
    ids = [row["id"] for row in json.loads((official / "tifa_v1.0_text_inputs.json").read_text())]
    rows = [{"id": name, "question": "?", "choices": YES_NO, "answer": "yes", "element_type": "object"} for name in ids]
    (tmp_path / "tifa_v1.0_question_answers.json").write_text(json.dumps(rows))
    items = TIFA.read(tmp_path)
    sizes = {category: sum(item.category == category for item in items) for category in {i.category for i in items}}
    assert sizes == {"coco": 2000, "partiprompt": 1420, "paintskill": 500, "drawbench": 161}
    assert all(isinstance(item.facts[0], Question) for item in items)
