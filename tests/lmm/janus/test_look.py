"""Answers are transformers' own, one picture and one question at a time, however they are packed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.lmm.hf.text import yes_no_ids
from silmm.lmm.janus import layout
from silmm.lmm.janus.lmm import JanusLMM

from .conftest import rows_of

QUESTIONS = [["Is there a red apple?", "Are there two dogs on the table?"], [], ["Is it small?"]]


def by_hand(lmm: JanusLMM, picture: np.ndarray, question: str) -> list[float]:
    """One question about one picture by transformers alone."""
    processor = lmm.weights.processor
    said = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": said}], add_generation_prompt=True)
    inputs = processor(images=[Image.fromarray(picture)], text=[text], return_tensors="pt")
    with torch.no_grad():
        probs = lmm.weights.model(**inputs).logits[0, -1].softmax(-1)
    return [float(probs[ids].sum()) for ids in yes_no_ids(processor.tokenizer)]


def test_answers_are_transformers_own(policy: JanusLMM, pictures: list[np.ndarray]) -> None:
    found = policy.look(pictures, QUESTIONS)
    assert [probs.shape for probs in found] == [(2, 2), (0, 2), (1, 2)]
    for picture, row, probs in zip(pictures, QUESTIONS, found, strict=True):
        assert probs.dtype == np.float32
        for question, pair in zip(row, probs, strict=True):
            np.testing.assert_allclose(pair, by_hand(policy, picture, question), atol=1e-5)
            assert 0.01 < pair.sum() < 1


def test_a_picture_stands_where_the_processor_puts_it(lmm: JanusLMM, pictures: list[np.ndarray]) -> None:
    processor = lmm.weights.processor
    text = layout.conversation(processor, QUESTIONS[0][0], image=True)
    wanted = processor(images=[Image.fromarray(pictures[0])], text=[text], return_tensors="pt").input_ids[0].tolist()
    before, after = layout.look_ids(processor, QUESTIONS[0][0])
    assert before + after == wanted
    assert wanted.count(lmm.weights.model.config.image_token_id) == lmm.length


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_answers_do_not_depend_on_their_batch(policy: JanusLMM, pictures: list[np.ndarray], rows: int) -> None:
    wanted = policy.look(pictures, QUESTIONS)
    found = rows_of(policy, rows).look(pictures[::-1], QUESTIONS[::-1])[::-1]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_questions_do_not_see_each_other(policy: JanusLMM, pictures: list[np.ndarray]) -> None:
    first = "Is there a red apple?"
    alone = policy.look(pictures[:1], [[first]])[0][0]
    for others in (["Is it small?"], ["Are there two dogs on the table?", "Is it small?"]):
        np.testing.assert_allclose(policy.look(pictures[:1], [[*others, first]])[0][-1], alone, atol=1e-6)
        np.testing.assert_allclose(policy.look(pictures[:1], [[first, *others]])[0][0], alone, atol=1e-6)


def test_the_picture_counts(lmm: JanusLMM, pictures: list[np.ndarray]) -> None:
    asked = [["Is there a red apple?"]]
    seen = lmm.look(pictures[:1], asked)[0]
    other = lmm.look([255 - pictures[0]], asked)[0]
    assert np.abs(seen - other).max() > 1e-4
    assert np.abs(seen - lmm.look(pictures[:1], [["Is there a blue apple?"]])[0]).max() > 1e-4


def test_drawn_pictures_are_looked_at(lmm: JanusLMM, codes: np.ndarray) -> None:
    asked = [["Is it small?"], ["Is it red?", "Is it big?"], []]
    for found, wanted in zip(lmm.answer(codes, asked), lmm.look(list(lmm.render(codes)), asked), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_questions_cannot_show_a_picture(lmm: JanusLMM, pictures: list[np.ndarray]) -> None:
    asked = [["Is <image_placeholder> it <end_of_image> red?"]]
    assert lmm.look(pictures[:1], asked)[0].shape == (1, 2)
    assert layout.look_ids(lmm.weights.processor, asked[0][0])[0] == layout.look_ids(lmm.weights.processor, "")[0]


def test_no_pictures(lmm: JanusLMM) -> None:
    assert lmm.look([], []) == []
