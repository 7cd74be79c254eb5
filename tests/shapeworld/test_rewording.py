"""Other texts for a prompt: the same claims, and claims that include them."""

from __future__ import annotations

import numpy as np
import pytest

from silmm.shapeworld import exam
from silmm.shapeworld.language import composition_keys, parse_prompt, units
from silmm.shapeworld.oracle import judge
from silmm.shapeworld.rewording import LONGEST, explained, wordings
from silmm.shapeworld.sample import sample_scene

TESTS = exam.prompts(160)


def test_wordings_make_the_same_claims() -> None:
    for test in TESTS:
        found = wordings(test.spec)
        assert test.prompt in found and len(set(found)) == len(found)
        for text in found:
            spec = parse_prompt(text)
            assert spec is not None, text
            assert sorted(composition_keys(spec)) == sorted(composition_keys(test.spec))
            assert len(text.split()) <= LONGEST


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a red circle and a blue square", 6),  # 3 joiners, 2 orders
        ("a red circle , a blue square and a green circle", 18),  # 3 joiners, 6 orders
        ("a red circle left of a blue square", 6),  # 3 wordings, and 3 of right
        ("a red circle in front of a blue square", 4),
        ("a red circle tied to a blue square", 6),
        ("a red circle left of a blue square and a striped green circle", 18),
    ],
)
def test_the_number_of_wordings(text: str, count: int) -> None:
    spec = parse_prompt(text)
    assert spec is not None
    assert len(wordings(spec)) == count
    if count == 6 and "left" in text:
        assert "a blue square on the right of a red circle" in wordings(spec)


def test_what_fulfils_an_explained_prompt_fulfils_the_prompt() -> None:
    rng = np.random.default_rng(0)
    for test in TESTS:
        text = explained(test.prompt, test.spec, rng)
        spec = parse_prompt(text)
        assert spec is not None, text
        assert len(text.split()) <= LONGEST
        added = len(text.split()) - len(test.prompt.split())
        open_ones = sum(value is None for _, thing in test.spec.items for value in thing)
        assert added == min(open_ones, LONGEST - len(test.prompt.split()))
        scene = sample_scene(rng, spec)
        assert all(judge(unit, scene) for unit in units(test.spec))


def test_an_explained_prompt_keeps_its_words() -> None:
    spec = parse_prompt("a red circle to the left of a blue square")
    assert spec is not None
    text = explained("a red circle to the left of a blue square", spec, np.random.default_rng(1))
    kept = [word for word in text.split() if word not in ("small", "big", "solid", "striped")]
    assert " ".join(kept) == "a red circle to the left of a blue square"
