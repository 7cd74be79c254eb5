"""What a training text entails: more words, other order and mirrored relations count; other numbers do not."""

from __future__ import annotations

import runpy

import pytest

from silmm.shapeworld.language import parse_prompt

from .conftest import SCRIPTS

CASES = [
    (
        "a solid yellow square right of a striped yellow triangle",
        "a yellow square on the right of a yellow triangle",
        1,
    ),
    ("a striped yellow triangle left of a solid yellow square", "a yellow square right of a yellow triangle", 1),
    ("a yellow square left of a yellow triangle", "a yellow square right of a yellow triangle", 0),
    ("a red circle left of a blue circle and a yellow square", "a red circle and a yellow square", 1),
    ("two red circles and one blue square", "a red circle and a blue square", 0),
    ("a red circle tied to a blue square", "a blue square linked to a red circle", 1),
    ("a red circle and a blue square", "a small red circle and a blue square", 0),
]


@pytest.mark.parametrize(("text", "claim", "wanted"), CASES)
def test_a_text_entails_what_each_of_its_pictures_shows(
    text: str, claim: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    entails = runpy.run_path(str(SCRIPTS / "held_out_numbers.py"))["entails"]
    specs = [parse_prompt(one) for one in (text, claim)]
    assert None not in specs
    assert entails(*specs) == bool(wanted)
