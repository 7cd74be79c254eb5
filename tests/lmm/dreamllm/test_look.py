"""Answers are transformers' own, one picture and one question at a time, however they are packed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.lmm.dreamllm import layout
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.lmm.hf.text import yes_no_ids

from .conftest import rows_of

QUESTIONS = [["Is there a red apple?", "Are there two dogs on the table?"], [], ["Is it small?"]]
SYSTEM = (
    " A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed,"
    " and polite answers to the user's questions."
)


def by_hand(lmm: DreamLMM, picture: np.ndarray, question: str) -> list[float]:
    """One question about one picture by transformers' models alone."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer, model, clip = lmm.tokenizer, lmm.weights.model, lmm.weights.vision.clip_vision_model
    side = clip.config.image_size
    prepare = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    pixels = prepare(Image.fromarray(picture), return_tensors="pt").pixel_values
    count = (side // clip.config.patch_size) ** 2
    text = f"{SYSTEM} USER: <im_start>{'<im_patch>' * count}<im_end>{question} ASSISTANT:"
    ids = torch.tensor([tokenizer(text).input_ids])
    assert ids[0, 0] == tokenizer.bos_token_id
    with torch.no_grad():
        seen = clip(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        embeds = model.get_input_embeddings()(ids)
        embeds[ids == tokenizer.convert_tokens_to_ids("<im_patch>")] = lmm.weights.vision.projector(seen)[0]
        probs = model(inputs_embeds=embeds).logits[0, -1].softmax(-1)
    return [float(probs[words].sum()) for words in yes_no_ids(tokenizer)]


def test_answers_are_transformers_own(policy: DreamLMM, pictures: list[np.ndarray]) -> None:
    found = policy.look(pictures, QUESTIONS)
    assert [probs.shape for probs in found] == [(2, 2), (0, 2), (1, 2)]
    for picture, row, probs in zip(pictures, QUESTIONS, found, strict=True):
        assert probs.dtype == np.float32
        for question, pair in zip(row, probs, strict=True):
            np.testing.assert_allclose(pair, by_hand(policy, picture, question), rtol=1e-3, atol=1e-6)
            assert 1e-3 < pair.sum() < 1


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_answers_do_not_depend_on_their_batch(policy: DreamLMM, pictures: list[np.ndarray], rows: int) -> None:
    wanted = policy.look(pictures, QUESTIONS)
    found = rows_of(policy, rows).look(pictures[::-1], QUESTIONS[::-1])[::-1]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_questions_do_not_see_each_other(policy: DreamLMM, pictures: list[np.ndarray]) -> None:
    first = "Is there a red apple?"
    alone = policy.look(pictures[:1], [[first]])[0][0]
    for others in (["Is it small?"], ["Are there two dogs on the table?", "Is it small?"]):
        np.testing.assert_allclose(policy.look(pictures[:1], [[*others, first]])[0][-1], alone, rtol=1e-3)
        np.testing.assert_allclose(policy.look(pictures[:1], [[first, *others]])[0][0], alone, rtol=1e-3)


def test_the_picture_counts(lmm: DreamLMM, pictures: list[np.ndarray]) -> None:
    asked = [["Is there a red apple?"]]
    seen = lmm.look(pictures[:1], asked)[0]
    assert np.abs(lmm.look([255 - pictures[0]], asked)[0] / seen - 1).max() > 0.05
    other = lmm.look(pictures[:1], [["Are there two dogs on the table?"]])[0]
    assert np.abs(other / seen - 1).max() > 1e-3  # a random one hardly tells questions apart; rounding is below 1e-5


def test_questions_cannot_show_a_picture(lmm: DreamLMM, pictures: list[np.ndarray]) -> None:
    asked = [["Is <im_start> it <im_patch> red? <im_end></s>"]]
    assert lmm.look(pictures[:1], asked)[0].shape == (1, 2)
    before, after = layout.look_ids(lmm.tokenizer, asked[0][0], 16)
    assert before == layout.look_ids(lmm.tokenizer, "", 16)[0] and not set(before[-18:]) & set(after)


def test_no_pictures(lmm: DreamLMM) -> None:
    assert lmm.look([], []) == []
