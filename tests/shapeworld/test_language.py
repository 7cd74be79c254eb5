"""Prompts and questions: every wording parses back, compositions are held out from all training."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from silmm.shapeworld import exam
from silmm.shapeworld.holdout import is_held_out, is_held_out_unit
from silmm.shapeworld.language import (
    SUBCATEGORIES,
    WORDINGS,
    Spec,
    Thing,
    Unit,
    category,
    composition_keys,
    lexicon,
    parse_prompt,
    parse_question,
    phrases,
    units,
    write_prompt,
    write_question,
)
from silmm.shapeworld.oracle import judge
from silmm.shapeworld.sample import QUESTION_KINDS, sample_question, sample_scene, sample_spec
from silmm.shapeworld.spoil import spoil


@pytest.mark.parametrize("name", SUBCATEGORIES)
@pytest.mark.parametrize("held_out", [True, False])
def test_prompts_parse_back(name: str, held_out: bool) -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        spec = sample_spec(rng, name, held_out=held_out)
        text = write_prompt(spec, rng)
        assert set(text.split()) <= set(lexicon())
        found = parse_prompt(text)
        assert found is not None and category(found) == category(spec) == name
        assert {u.key() for u in units(found)} == {u.key() for u in units(spec)}
        assert is_held_out(found) == is_held_out(spec) == held_out


def test_questions_parse_back() -> None:
    rng = np.random.default_rng(4)
    for i in range(1000):
        scene = sample_scene(rng, sample_spec(rng, SUBCATEGORIES[i % 8], held_out=None))
        unit, holds = sample_question(rng, scene, QUESTION_KINDS[i % 6])
        assert parse_question(write_question(unit, rng)) == unit
        assert judge(unit, scene) == holds
        assert not is_held_out_unit(unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "red circle",
        "a red circle",
        "a red circle and",
        "a circle red and a blue square",
        "a red circle and a red circle",
        "two red circle and one blue square",
        "a red circle left of a blue square left of a green square",
        "five red circles",
        "four red circles and one blue square",
        "a red dog and a blue square",
    ],
)
def test_refused_prompts(text: str) -> None:
    assert parse_prompt(text) is None
    assert exam.refusal(text, "color") == "invalid"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "is there",
        "is there a ?",
        "are there one red circle ?",
        "is there two objects ?",
        "is a red circle a blue square ?",
        "is there a red circle",
    ],
)
def test_refused_questions(text: str) -> None:
    assert parse_question(text) is None


def test_symmetric_wordings_share_a_composition() -> None:
    a, b = Thing("circle", "red"), Thing("square", "blue")
    for one, other in (("left", "right"), ("above", "below"), ("front", "behind"), ("linked", "linked")):
        keys = composition_keys(Spec(((1, a), (1, b)), ((one, 0, 1),)))
        assert keys == composition_keys(Spec(((1, b), (1, a)), ((other, 0, 1),)))
    assert composition_keys(Spec(((1, a), (1, b)))) == composition_keys(Spec(((1, b), (1, a))))


def test_every_category_holds_out_a_share_of_compositions() -> None:
    rng = np.random.default_rng(5)
    for name in SUBCATEGORIES:
        specs = [sample_spec(rng, name, held_out=None) for _ in range(1500)]
        held = {k for s in specs if is_held_out(s) for k in composition_keys(s)}
        assert held, name
        assert 0.02 < np.mean([is_held_out(s) for s in specs]) < 0.6, name


def test_exam_uses_only_held_out_prompts_and_balanced_sights() -> None:
    tests = exam.prompts(160)
    assert tests == exam.prompts(160)
    assert len({t.prompt for t in tests}) == len({t.id for t in tests}) == 160
    assert all(is_held_out(t.spec) for t in tests)
    sights = exam.sights(40)
    assert all(judge(s.unit, s.scene) == s.holds for s in sights)
    assert 0.45 < np.mean([s.holds for s in sights]) < 0.55
    with pytest.raises(ValueError, match="evaluate.prompts is 100000: ShapeWorld has fewer held-out"):
        exam.prompts(100_000)


def test_refusal_counts_by_reason() -> None:
    held = next(t for t in exam.prompts(8) if t.subcategory == "spatial_2d")
    assert exam.refusal(held.prompt, "spatial_2d") == "held_out"
    assert exam.refusal(held.prompt, "color") == "off_category"


def test_spoiling_changes_the_claim_and_keeps_the_category() -> None:
    rng = np.random.default_rng(6)
    for i in range(400):
        spec = sample_spec(rng, SUBCATEGORIES[i % 8], held_out=False)
        other = spoil(rng, spec)
        assert category(other) == category(spec) and not is_held_out(other)
        if other != spec:
            assert {u.key() for u in units(other)} != {u.key() for u in units(spec)}


def test_wordings_are_unambiguous() -> None:
    phrases = [w for ws in WORDINGS.values() for w in ws]
    assert len(set(phrases)) == len(phrases)
    assert not any(a != b and b.startswith(a + " ") for a, b in itertools.permutations(phrases, 2))
    assert Unit("total", None, 2).key() == "total(2)"


@pytest.mark.parametrize(
    ("prompt", "cut"),
    [
        ("a red circle", ["a red circle"]),
        ("a red circle , a star and two small squares", ["a red circle", "a star", "two small squares"]),
        ("a red circle on top of a blue square", ["a red circle", "on top of a blue square"]),
        ("a circle partly hidden by a star plus a square", ["a circle", "partly hidden by a star", "a square"]),
        ("not in the language", ["not in the language"]),
        ("", []),
    ],
)
def test_phrases(prompt: str, cut: list[str]) -> None:
    assert phrases(prompt) == cut
