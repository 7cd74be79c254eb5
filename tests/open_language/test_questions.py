"""Answers in plain English: parts and questions in order, what is dropped counted, what presupposes what."""

from __future__ import annotations

import pytest

from silmm.open_language.questions import as_question, phrases, questions_of, split


@pytest.mark.parametrize(
    "line",
    [
        "red kettle -> Is the kettle red?",
        "2. red kettle → Is the kettle red?",
        "- red kettle: Is the kettle red?",
        "red kettle => Is the kettle red? Yes.",
    ],
)
def test_a_line_is_a_part_and_its_question(line: str) -> None:
    assert split(line) == ([("Is the kettle red?", "red kettle")], {"malformed": 0, "duplicate": 0})


@pytest.mark.parametrize(
    "line",
    [
        "Sure, here are the questions:",
        "Is the kettle red?",
        "red kettle -> What colour is the kettle?",
        "red kettle -> the kettle is red",
        "red kettle -> Is the kettle",
        "-> Is the kettle red?",
        "the -> Is the kettle red?",
        "red kettle -> Is?",
        "red kettle -> Is " + "very " * 30 + "red?",
    ],
)
def test_anything_else_is_malformed(line: str) -> None:
    good = "kettle -> Is there a kettle?"
    assert split(f"{line}\n\n{good}") == ([("Is there a kettle?", "kettle")], {"malformed": 1, "duplicate": 0})


def test_a_part_or_a_question_that_was_there_is_a_duplicate() -> None:
    first = "a kettle -> Is there a kettle?\nKettle -> Does it show a kettle?"
    asked, dropped = split(f"{first}\npot -> is there a kettle?\ncup -> Is a cup there?")
    assert [part for _, part in asked] == ["a kettle", "cup"]
    assert dropped == {"malformed": 0, "duplicate": 2}


def test_no_text_has_no_questions() -> None:
    assert split("") == ([], {"malformed": 0, "duplicate": 0})
    assert questions_of("p0", []).questions == ()


def test_a_part_presupposes_the_parts_that_it_contains() -> None:
    parts = ["the apple", "red apple", "table", "red apple on a table", "apple pie", "pine", "pineapple"]
    record = questions_of("p0", [(f"Is there {part}?", part) for part in parts])
    parents = {part: q.parents for part, q in zip(record.units, record.questions, strict=True)}
    assert parents == {
        **{"the apple": (), "red apple": ("q0",), "table": (), "red apple on a table": ("q0", "q1", "q2")},
        **{"apple pie": ("q0",), "pine": (), "pineapple": ()},
    }
    assert record.units == tuple(parts)
    assert {q.expected for q in record.questions} == {"yes"}


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a copper kettle next to two green mugs", ["a copper kettle", "next to two green mugs"]),
        ("A cat, a dog, and a cow.", ["A cat", "a dog", "a cow"]),
        ("a cup to the left of a box", ["a cup", "to the left of a box"]),
        ("a woman with a hat in front of a door", ["a woman", "with a hat", "in front of a door"]),
        ("sandals and an onion", ["sandals", "an onion"]),
        ("a kettle", ["a kettle"]),
    ],
)
def test_phrases(prompt: str, pieces: list[str]) -> None:
    assert phrases(prompt) == pieces


def test_a_text_becomes_a_question() -> None:
    texts = {"a cat on a mat": "a cat on a mat?", "A cat. ": "A cat?", "Is it red ?": "Is it red?"}
    assert {text: as_question(text) for text in texts} == texts
