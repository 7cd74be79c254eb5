"""Drafts in plain English: the prompt in an answer, and why one is refused."""

from __future__ import annotations

import pytest

from silmm.open_language.drafts import MOST, REASONS, clean, refusal


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a red kettle and a blue cup", "a red kettle and a blue cup"),
        ("\n\n  a red   kettle \nand more", "a red kettle"),
        ("1. a red kettle", "a red kettle"),
        ("(2) a red kettle", "a red kettle"),
        ("- a red kettle", "a red kettle"),
        ('"A red kettle."', "A red kettle."),
        ("**Description:** a red kettle", "a red kettle"),
        ('1. **"a red kettle"**', "a red kettle"),
        ("Sure! Here is one:\n\n> “a red kettle”", "a red kettle"),
        ("```\na red kettle\n```", "a red kettle"),
        ("a poster that says 'stop'", "a poster that says 'stop'"),
        ("Prompt:\na red kettle", "a red kettle"),
        ("Here you are:", ""),
        (" \n\t\n", ""),
        ("", ""),
    ],
)
def test_the_prompt_in_an_answer(text: str, prompt: str) -> None:
    assert clean(text) == prompt
    assert clean(prompt) == prompt


@pytest.mark.parametrize(
    ("text", "subcategory", "reason"),
    [
        ("", "complex", "empty"),
        ("...", "complex", "empty"),
        ("red kettle", "complex", "too_short"),
        (" ".join(["a", "red", "kettle", "by", "the", "old", "blue", "door"] * 6), "complex", "too_long"),
        ("a kettle http://x.org/y.png", "shape", "not_words"),
        ("a kettle <image> and a cup", "shape", "not_words"),
        ("红色 水壶 和 杯子", "color", "not_words"),
        ("a kettle \ufffd and a cup", "shape", "not_words"),
        ("a kettle and a " + "o" * 40, "shape", "not_words"),
        ("red kettle red kettle red kettle red kettle", "color", "repetitive"),
        ("a kettle and a cup", "color", "off_category"),
        ("a kettle and a cup", "numeracy", "off_category"),
        ("a kettle and a cup", "spatial_2d", "off_category"),
        ("a kettle and a cup", "spatial_3d", "off_category"),
        ("a redwood kettle and a cup", "color", "off_category"),
        ("a kettle and a cup", "shape", None),
        ("A red kettle, a café and a jack-o'-lantern.", "color", None),
        ("Two kettles and 3 cups", "numeracy", None),
        ("a kettle left of a cup", "spatial_2d", None),
        ("a kettle in the background and a cup", "spatial_3d", None),
        ("a cat and a dog and a cow and a pig", "complex", None),
    ],
)
def test_why_a_draft_is_refused(text: str, subcategory: str, reason: str | None) -> None:
    assert refusal(text, subcategory) == reason
    assert reason is None or reason in REASONS


def test_the_longest_prompt_is_kept() -> None:
    words = [chr(ord("a") + i // 26) + chr(ord("a") + i % 26) for i in range(MOST + 1)]
    assert refusal(" ".join(words[:-1]), "complex") is None
    assert refusal(" ".join(words), "complex") == "too_long"
