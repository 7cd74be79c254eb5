"""Looking, writing and asking: as transformers itself would, with a picture read once for all its questions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.lmm.emu3 import layout
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.open_language.instructions import ask_instruction
from tests.lmm.emu3.conftest import PROMPTS

QUESTIONS = ["Is there a dog?", "Are there two old cats behind the small house?", "Is the pear red?"]


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [noise.integers(0, 256, shape, np.uint8) for shape in ((32, 32, 3), (40, 56, 3), (20, 20, 3))]


@pytest.mark.parametrize("which", ["lmm", "disordered"])
def test_probabilities_are_those_of_transformers(
    request: pytest.FixtureRequest, which: str, images: list[np.ndarray]
) -> None:
    """One question at a time through the whole model, pictures of three sizes."""
    lmm: Emu3LMM = request.getfixturevalue(which)
    processor = lmm.chat.processor
    own = lmm.look(images, [QUESTIONS] * 3)
    yes, no = lmm.yes_no_words
    assert {processor.tokenizer.decode([i]).strip() for i in yes} == {"yes", "Yes", "YES"}
    for image, probs in zip(images, own, strict=True):
        for question, pair in zip(QUESTIONS, probs, strict=True):
            text = layout.conversation(processor, question, image=True)
            inputs = processor(images=[Image.fromarray(image)], text=[text], return_tensors="pt")
            with torch.no_grad():
                theirs = lmm.chat.model(**inputs).logits[0, -1].softmax(-1)
            assert pair == pytest.approx([float(theirs[yes].sum()), float(theirs[no].sum())], abs=1e-6, rel=1e-3)


def test_pixels_change_the_probabilities(lmm: Emu3LMM, images: list[np.ndarray]) -> None:
    changed = images[0].copy()
    changed[:16] = 255 - changed[:16]
    one, other = (lmm.look([image], [QUESTIONS])[0] for image in (images[0], changed))
    assert (np.abs(one - other) > 0.01 * one).any()


def test_questions_do_not_see_each_other(lmm: Emu3LMM, images: list[np.ndarray]) -> None:
    (together,) = lmm.look(images[:1], [QUESTIONS])
    for question, pair in zip(QUESTIONS, together, strict=True):
        (alone,) = lmm.look(images[:1], [[question]])
        assert alone[0] == pytest.approx(pair, abs=1e-6, rel=1e-3)
    assert len({tuple(pair) for pair in together}) == 3


def test_a_picture_is_read_once(lmm: Emu3LMM, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = lmm.chat.model.model, 0
    encode = model.get_image_tokens

    def count(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return encode(*args)

    monkeypatch.setattr(model, "get_image_tokens", count)
    probs = lmm.look(images, [QUESTIONS, [], QUESTIONS[:1]])
    assert calls == 2 and [len(p) for p in probs] == [3, 0, 1]


def test_drawn_pictures_are_rendered_and_looked_at(lmm: Emu3LMM) -> None:
    codes = np.random.default_rng(3).integers(0, 64, (2, 16))
    asked = [QUESTIONS, QUESTIONS[:2]]
    for one, other in zip(lmm.answer(codes, asked), lmm.look(list(lmm.render(codes)), asked), strict=True):
        assert (one == other).all()


def test_writing_depends_on_its_own_key_alone(lmm: Emu3LMM) -> None:
    names, keys = ["color", "shape", "complex", "color", "texture"], [("test", i) for i in range(5)]
    together = lmm.write(names, keys, temperature=1.0)
    assert together[2:3] == lmm.write(names[2:3], keys[2:3], temperature=1.0)
    assert together[0] != together[3]
    assert all(text.replace("\n", " ").isprintable() and "<|" not in text for text in together)
    assert sum(len(text.split()) >= 3 for text in together) >= 3  # of the tiny one: a salad of words


def test_asking_is_greedy(lmm: Emu3LMM, plain: dict[str, Any]) -> None:
    """As `generate` does, one by one; here prompts of different lengths share a batch."""
    processor = lmm.chat.processor
    theirs = []
    for prompt in PROMPTS:
        inputs = processor(text=[layout.conversation(processor, ask_instruction(prompt))], return_tensors="pt")
        out = plain["chat"].generate(**inputs, do_sample=False, max_new_tokens=12)
        text = processor.tokenizer.decode(out[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)
        theirs.append(text.strip())
    assert lmm.ask(PROMPTS, max_tokens=12) == theirs
