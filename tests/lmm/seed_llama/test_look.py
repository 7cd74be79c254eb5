"""Looking, writing and asking: as transformers would, with a picture read once for all its questions."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from silmm.lmm.hf.tiny import ANSWERS, WORDS
from silmm.lmm.seed_llama import layout
from silmm.lmm.seed_llama.lmm import SeedLMM
from silmm.lmm.seed_llama.names import END, START, VISUAL
from silmm.open_language.instructions import ask_instruction, write_instruction

from .conftest import PROMPTS, reference_ids, rows_of

QUESTIONS = [["Is there a red apple?", "Are there two dogs on the table?"], [], ["Is it small?"]]


def by_hand(lmm: SeedLMM, picture: np.ndarray, question: str) -> list[float]:
    """One question about one picture, from the reference's string, by transformers alone."""
    side = lmm.quantizer.sizes.side
    pixels = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR)) / 255
    pixels = (pixels - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]  # CLIP's
    codes = lmm.quantizer.encode(torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float())[0]
    shown = START + "".join(map(VISUAL.format, codes.tolist())) + END
    text = {"vicuna": "<s>USER: {}\nASSISTANT:", "llama2": "<s>[INST] {} [/INST]\n"}[lmm.weights.template]
    ids = torch.tensor([reference_ids(lmm, text.format(shown + question))])
    with torch.no_grad():
        probs = lmm.weights.model(input_ids=ids).logits[0, -1].softmax(-1)
    return [float(probs[words].sum()) for words in lmm.yes_no_words]


@pytest.mark.parametrize("which", ["policy", "disordered"])
def test_answers_are_transformers_own(request: pytest.FixtureRequest, which: str, pictures: list[np.ndarray]) -> None:
    lmm: SeedLMM = request.getfixturevalue(which)
    found = lmm.look(pictures, QUESTIONS)
    assert [probs.shape for probs in found] == [(2, 2), (0, 2), (1, 2)]
    for picture, row, probs in zip(pictures, QUESTIONS, found, strict=True):
        assert probs.dtype == np.float32
        for question, pair in zip(row, probs, strict=True):
            np.testing.assert_allclose(pair, by_hand(lmm, picture, question), atol=1e-6, rtol=1e-3)
            assert 0.001 < pair.sum() < 1


def test_words_that_say_yes_and_no(lmm: SeedLMM) -> None:
    """With a space before, as sentencepiece writes it, and without."""
    yes, no = (set(lmm.tokenizer.convert_ids_to_tokens(ids)) for ids in lmm.yes_no_words)
    assert {"▁yes", "▁Yes", "Yes", "▁YES"} <= yes <= {"▁yes", "yes", "▁Yes", "Yes", "▁YES", "YES"}
    assert {"▁no", "▁No", "No", "▁NO"} <= no <= {"▁no", "no", "▁No", "No", "▁NO", "NO"}


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_answers_do_not_depend_on_their_batch(policy: SeedLMM, pictures: list[np.ndarray], rows: int) -> None:
    wanted = policy.look(pictures, QUESTIONS)
    found = rows_of(policy, rows).look(pictures[::-1], QUESTIONS[::-1])[::-1]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6, rtol=1e-4)
    assert policy.look([], []) == []


def test_questions_do_not_see_each_other(policy: SeedLMM, pictures: list[np.ndarray]) -> None:
    first = "Is there a red apple?"
    alone = policy.look(pictures[:1], [[first]])[0][0]
    for others in (["Is it small?"], ["Are there two dogs on the table?", "Is it small?"]):
        found = policy.look(pictures[:1], [[*others, first]])[0]
        np.testing.assert_allclose(found[-1], alone, atol=1e-6)
        assert np.abs(found[0] - alone).max() > 1e-4


def test_the_picture_counts(lmm: SeedLMM, pictures: list[np.ndarray]) -> None:
    asked = [["Is there a red apple?"]]
    seen, other = (lmm.look([picture], asked)[0] for picture in (pictures[0], 255 - pictures[0]))
    assert np.abs(seen - other).max() > 0.01 * seen.max()
    assert (lmm.codes_of(pictures[0]) != lmm.codes_of(255 - pictures[0])).float().mean() > 0.2


def test_a_picture_is_read_once(lmm: SeedLMM, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    encode, calls = lmm.quantizer.encode, []

    def count(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(lmm.quantizer, "encode", count)
    lmm.look(pictures[:2], [QUESTIONS[0] * 3, ["Is it small?"]])
    assert calls == [1, 1]


def test_drawn_pictures_are_rendered_and_looked_at(lmm: SeedLMM, codes: np.ndarray) -> None:
    for found, wanted in zip(lmm.answer(codes, QUESTIONS), lmm.look(list(lmm.render(codes)), QUESTIONS), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_writing_asking_and_learning_need_no_pictures(lmm: SeedLMM) -> None:
    fresh = SeedLMM(lmm.weights, lmm.adapted, lmm.settings)
    fresh.ask(PROMPTS[:1], max_tokens=2)
    fresh.token_logps(PROMPTS[:1], np.zeros((1, 32), np.int64))
    assert not {"quantizer", "pipeline"} & vars(fresh).keys()


# ---- text ------------------------------------------------------------------------------------------------------------


def test_asking_is_transformers_own(policy: SeedLMM) -> None:
    """Greedy, one by one, there; here prompts of different lengths share a batch."""
    tokenizer = policy.tokenizer
    for prompt, text in zip(PROMPTS, policy.ask(PROMPTS, max_tokens=12), strict=True):
        said = f"<s>USER: {ask_instruction(prompt)}\nASSISTANT:"
        ids = tokenizer(said, add_special_tokens=False, return_tensors="pt").input_ids
        out = policy.weights.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
        )
        theirs = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert text.split() == re.sub(r"</?img>|<img_\d+>", "", theirs).split()


def test_writing_depends_on_its_own_key_alone(policy: SeedLMM) -> None:
    names, own = ["color", "numeracy", "complex", "color"], [("test", i) for i in range(4)]
    together = policy.write(names, own, temperature=1.0)
    assert rows_of(policy, 1).write(names[2:3], own[2:3], temperature=1.0) == together[2:3]
    assert together[0] != together[3]


def test_a_random_one_writes_words(lmm: SeedLMM) -> None:
    texts = lmm.write(["color"] * 12, [(0, i) for i in range(12)], temperature=1.0)
    words = " ".join(texts).replace(",", " ").replace(".", " ").replace("?", " ").split()
    assert len(words) > 32 and sum(word in {*WORDS, *ANSWERS} for word in words) > 0.7 * len(words)


def test_visual_tokens_are_not_text(lmm: SeedLMM) -> None:
    """transformers 5 does not count them among special tokens, so its own decoding leaves their names."""
    ids = lmm.tokenizer.encode("a dog<img><img_00003></img> and a cat", add_special_tokens=False)
    assert "<img_00003>" in lmm.tokenizer.decode(ids, skip_special_tokens=True)
    assert lmm._decode([ids])[0].split() == ["a", "dog", "and", "a", "cat"]


def test_likelihood_is_of_the_output_alone(policy: SeedLMM) -> None:
    pairs = [("write", "color", "a red apple"), ("ask", PROMPTS[0], "dog -> Is there a dog?")]
    losses = []
    for task, given, output in pairs:
        said = write_instruction(given, ("text",)) if task == "write" else ask_instruction(given)
        before = policy.tokenizer.encode(f"<s>USER: {said}\nASSISTANT:", add_special_tokens=False)
        whole = policy.tokenizer.encode(f"<s>USER: {said}\nASSISTANT: {output}</s>", add_special_tokens=False)
        assert whole[: len(before)] == before  # the answer's tokens are those that it has in the whole
        logits = policy.weights.model(input_ids=torch.tensor([whole])).logits[0, len(before) - 1 : -1]
        losses.append(F.cross_entropy(logits, torch.tensor(whole[len(before) :]), reduction="none"))
    for rows in (1, 4):
        found = rows_of(policy, rows).text_nll(pairs)
        torch.testing.assert_close(found, torch.cat(losses).mean(), atol=1e-4, rtol=0)
    found.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


TURNS = {"vicuna": "<s>USER: {}\nASSISTANT:", "llama2": "<s>[INST] {} [/INST]\n"}


@pytest.mark.parametrize("which", ["lmm", "disordered"])
@pytest.mark.parametrize(
    "said", ["Is it red?", " Is  it   red? ", "Is it\n\nred?\n", "is it red", "2 Ärzte, 日本?", "yes"]
)
def test_tokens_are_those_of_the_authors_tokenizer(request: pytest.FixtureRequest, which: str, said: str) -> None:
    """Beside a picture, and where words stand apart by more than one space."""
    lmm: SeedLMM = request.getfixturevalue(which)
    template, ids = lmm.weights.template, lmm.weights.ids
    before, after = layout.look_ids(lmm.tokenizer, template, said)
    shown = TURNS[template].format(f"{START}{VISUAL.format(7)}{END}{said}")
    assert [*before, ids.visual[7], ids.end, *after] == reference_ids(lmm, shown)
    assert layout.text_ids(lmm.tokenizer, template, said) == reference_ids(lmm, TURNS[template].format(said))


def test_no_space_stands_before_a_picture(lmm: SeedLMM) -> None:
    before, after = layout.look_ids(lmm.tokenizer, "vicuna", "Is it red?")
    assert lmm.tokenizer.convert_ids_to_tokens(before)[-2:] == [":", START]
    assert lmm.tokenizer.convert_ids_to_tokens(after)[0] == "▁"  # the space that every piece of text starts with
    before, _ = layout.look_ids(lmm.tokenizer, "llama2", "Is it red?")
    assert lmm.tokenizer.convert_ids_to_tokens(before)[-2:] == ["]", START]


def test_a_question_does_not_walk_the_added_tokens(lmm: SeedLMM, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are 8,197 in the published tokenizer: names are read once for all texts."""
    layout.look_ids(lmm.tokenizer, "vicuna", "Is it red?")
    monkeypatch.setattr(type(lmm.tokenizer), "added_tokens_decoder", property(lambda _: pytest.fail("read again")))
    for question in ("Is it red?", "Is it <img> red?", "2 < 3?"):
        layout.look_ids(lmm.tokenizer, "vicuna", question)
        layout.text_ids(lmm.tokenizer, "vicuna", question)
        layout.draw_ids(lmm.tokenizer, "vicuna", question)


def test_a_question_cannot_show_a_picture(lmm: SeedLMM) -> None:
    """Nor end a text: names of added tokens are taken out of what is said."""
    ids = lmm.weights.ids
    markers = {ids.start, ids.end, *ids.visual, lmm.tokenizer.bos_token_id, lmm.tokenizer.eos_token_id}
    said = "Is </img> it <img><img_00003> red?</s> <s> <im<img_00001>g> 2 < 3"
    before, after = layout.look_ids(lmm.tokenizer, "vicuna", said)
    assert not markers & set(after) and [token for token in before if token in markers] == [before[0], ids.start]
    assert [token for token in layout.text_ids(lmm.tokenizer, "vicuna", said) if token in markers] == [before[0]]
