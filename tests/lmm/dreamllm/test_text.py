"""Texts are laid out and tokenized as the publishers do, and what is written is transformers' own."""

from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece
import torch

from silmm.lmm.dreamllm import layout
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.lmm.hf.tiny import ANSWERS, WORDS
from silmm.open_language.instructions import ask_instruction, write_instruction

from .conftest import PROMPTS, rows_of
from .test_look import SYSTEM

NAMES = ["color", "numeracy", "complex"]
KEYS = [(0, "prompts", i) for i in range(len(NAMES))]


TEXTS = (
    "a red apple", " a  red\napple ", "", "é 日本 2 dogs", "yes", "  two   red    apples", "a  red     apple\tand cat",
    "dogs   .  cats", "▁▁ odd", "a" * 40,
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_sentencepiece_s_own(lmm: DreamLMM, weights: Path, text: str) -> None:
    """transformers 5 alone leaves out the space before a space, and merges two spaces before a space and a word."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(weights / "tokenizer.model"))
    tokenizer = lmm.tokenizer
    start = pieces.bos_id()
    assert layout.draw_ids(tokenizer, text) == [start, *pieces.encode(text), pieces.get_piece_size() + 6]
    before, after = layout.look_ids(tokenizer, text, 2)
    first, patch, last = (pieces.get_piece_size() + i for i in (3, 2, 4))
    assert before == [start, *pieces.encode(f"{SYSTEM} USER: "), first, patch, patch, last]
    assert after == pieces.encode(f"{text} ASSISTANT:")
    assert layout.text_ids(tokenizer, text) == [start, *pieces.encode(f"{SYSTEM} USER: {text} ASSISTANT:")]


def test_the_system_line_starts_with_a_space_of_its_own(lmm: DreamLMM, weights: Path) -> None:
    """The tokenizer has a piece of two spaces, as LLaMA's: of a low id, and merged last."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(weights / "tokenizer.model"))
    assert pieces.id_to_piece(259) == "▁▁" and pieces.get_score(259) == -1e9
    assert lmm.tokenizer.convert_ids_to_tokens(layout.text_ids(lmm.tokenizer, "hi"))[:3] == ["<s>", "▁", "▁A"]


def test_asking_is_transformers_own(policy: DreamLMM) -> None:
    found = policy.ask(PROMPTS, max_tokens=12)
    for prompt, text in zip(PROMPTS, found, strict=True):
        ids = torch.tensor([policy.tokenizer(f"{SYSTEM} USER: {ask_instruction(prompt)} ASSISTANT:").input_ids])
        out = policy.weights.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
        )
        assert text == policy.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def test_writing_is_keyed_and_does_not_depend_on_its_batch(policy: DreamLMM) -> None:
    wanted = policy.write(NAMES, KEYS, temperature=0.9)
    assert len(set(wanted)) == len(NAMES)
    for rows in (1, 2):
        assert rows_of(policy, rows).write(NAMES[::-1], KEYS[::-1], temperature=0.9)[::-1] == wanted
    assert policy.write(NAMES, [(1, *key) for key in KEYS], temperature=0.9) != wanted


def test_a_random_dreamllm_writes_words(lmm: DreamLMM) -> None:
    texts = lmm.write(["color"] * 16, [(0, i) for i in range(16)], temperature=1.0)
    words = " ".join(texts).replace(",", " ").replace(".", " ").replace("?", " ").split()
    assert len(words) > 32
    assert sum(word in {*WORDS, *ANSWERS} for word in words) > 0.7 * len(words)


def test_likelihood_is_of_the_output_alone(policy: DreamLMM) -> None:
    tokenizer, model = policy.tokenizer, policy.weights.model
    pairs = [("write", "color", "a red apple"), ("ask", PROMPTS[1], "dogs -> Are there two dogs?")]
    logps = []
    for task, given, output in pairs:
        said = write_instruction(given, ("text",)) if task == "write" else ask_instruction(given)
        before = layout.text_ids(tokenizer, said)
        after = [*tokenizer.encode(output, add_special_tokens=False), tokenizer.eos_token_id]
        assert tokenizer.decode(after, skip_special_tokens=True).strip() == output
        logits = model(input_ids=torch.tensor([before + after])).logits[0, len(before) - 1 : -1].log_softmax(-1)
        logps.append(logits.gather(1, torch.tensor(after)[:, None])[:, 0])
    for rows in (1, 4):
        found = rows_of(policy, rows).text_nll(pairs)
        torch.testing.assert_close(found, -torch.cat(logps).mean(), atol=1e-4, rtol=0)
    found.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())
