"""Splitting the LMM's text into questions: order kept, malformed and repeated ones counted, parents linked."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from silmm.records import Prompt, PromptQuestions, read_jsonl, write_jsonl
from silmm.settings import Questions
from silmm.shapeworld.questions import coverage, questions_of, split
from silmm.stages import questions

TEXT = (
    "is there a red circle ? is there a blue square ? is a red circle left of a blue square ? are there two objects ?"
)


def test_splits_in_order_and_covers() -> None:
    asked, dropped = split(TEXT)
    assert [text for text, _ in asked] == [f"{t.strip()} ?" for t in TEXT.split("?")[:-1]]
    assert sum(dropped.values()) == 0
    assert coverage("a red circle left of a blue square", asked) == 1.0
    assert coverage("a red circle left of a green square", asked) == 0.5
    assert coverage("no prompt", asked) is None


def test_malformed_and_repeated_questions_are_counted() -> None:
    asked, dropped = split("is there a red circle ? is there red a ? is there a red circle ? are there two")
    assert [text for text, _ in asked] == ["is there a red circle ?"]
    assert dropped == {"malformed": 2, "duplicate": 1}
    assert split("") == ([], {"malformed": 0, "duplicate": 0})


def test_relations_have_their_things_as_parents() -> None:
    record = questions_of("p0", split(TEXT)[0])
    assert [q.parents for q in record.questions] == [(), (), ("q0", "q1"), ()]
    assert record.units[2] == "relation(left, red circle, blue square)"


@pytest.mark.parametrize(
    ("strategy", "texts"),
    [
        ("prompt", ["a red circle to the left of a blue square ?"]),
        ("phrase", ["a red circle ?", "to the left of a blue square ?"]),
    ],
)
def test_the_prompt_or_its_phrases_as_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, texts: list[str]
) -> None:
    policy = SimpleNamespace(world="shapeworld")  # nothing is asked of it
    monkeypatch.setattr(questions.models, "load", lambda _: policy)
    monkeypatch.setattr(questions.models, "name_of", lambda _: "discrete")
    prompt = Prompt("p0", "layout", "spatial_2d", "a red circle to the left of a blue square", 0)
    write_jsonl(tmp_path / "prompts.jsonl", [prompt])
    paths = {"prompts": tmp_path / "prompts.jsonl", "out": tmp_path / "qa.jsonl", "stats": tmp_path / "qa.stats.json"}
    questions.run(Questions(strategy=strategy), ckpt=tmp_path, **paths)
    (record,) = read_jsonl(paths["out"], PromptQuestions)
    assert [q.text for q in record.questions] == texts
    assert [q.expected for q in record.questions] == ["yes"] * len(texts)
    assert record.units == ()
    assert json.loads(paths["stats"].read_text())["questions"] == len(texts)
