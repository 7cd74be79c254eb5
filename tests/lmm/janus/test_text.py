"""What Janus writes is transformers' own, and its likelihood is what it learns from."""

from __future__ import annotations

import pytest
import torch

from silmm.lmm.hf.tiny import ANSWERS, WORDS
from silmm.lmm.janus import layout
from silmm.lmm.janus.lmm import JanusLMM
from silmm.open_language.instructions import ask_instruction, write_instruction

from .conftest import PROMPTS, rows_of

NAMES = ["color", "numeracy", "complex"]
KEYS = [(0, "prompts", i) for i in range(len(NAMES))]


def test_asking_is_transformers_own(policy: JanusLMM) -> None:
    processor = policy.weights.processor
    found = policy.ask(PROMPTS, max_tokens=12)
    for prompt, text in zip(PROMPTS, found, strict=True):
        turn = [{"role": "user", "content": [{"type": "text", "text": ask_instruction(prompt)}]}]
        inputs = processor(text=[processor.apply_chat_template(turn, add_generation_prompt=True)], return_tensors="pt")
        out = policy.weights.model.generate(**inputs, do_sample=False, max_new_tokens=12)
        new = out[0, inputs.input_ids.shape[1] :]
        assert text == processor.tokenizer.decode(new, skip_special_tokens=True).strip()


def test_writing_is_keyed_and_does_not_depend_on_its_batch(policy: JanusLMM) -> None:
    wanted = policy.write(NAMES, KEYS, temperature=0.9)
    assert len(set(wanted)) == len(NAMES)
    for rows in (1, 2):
        turned = rows_of(policy, rows).write(NAMES[::-1], KEYS[::-1], temperature=0.9)[::-1]
        assert turned == wanted
    assert policy.write(NAMES, [(1, *key) for key in KEYS], temperature=0.9) != wanted


def test_a_random_janus_writes_words(lmm: JanusLMM) -> None:
    texts = lmm.write(["color"] * 16, [(0, i) for i in range(16)], temperature=1.0)
    words = " ".join(texts).replace(",", " ").replace(".", " ").replace("?", " ").split()
    assert len(words) > 32
    assert sum(word in {*WORDS, *ANSWERS} for word in words) > 0.8 * len(words)
    assert len({len(text.split()) for text in texts}) > 3


def test_likelihood_is_of_the_output_alone(policy: JanusLMM) -> None:
    processor, model = policy.weights.processor, policy.weights.model
    pairs = [("write", "color", "a red apple"), ("ask", PROMPTS[1], "dogs -> Are there two dogs?")]
    logps = []
    for task, given, output in pairs:
        said = write_instruction(given, ("text",)) if task == "write" else ask_instruction(given)
        before = layout.text_ids(processor, said)
        words = processor.tokenizer.encode(f" {output}", add_special_tokens=False)
        after = [*words, processor.tokenizer.eos_token_id]
        logits = model(input_ids=torch.tensor([before + after])).logits[0, len(before) - 1 : -1].log_softmax(-1)
        logps.append(logits.gather(1, torch.tensor(after)[:, None])[:, 0])
    for rows in (1, 4):
        found = rows_of(policy, rows).text_nll(pairs)
        torch.testing.assert_close(found, -torch.cat(logps).mean(), atol=1e-4, rtol=0)
    found.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())


@pytest.mark.parametrize("text", ["", "é 日本 ok", "<|User|>: hm<｜end▁of▁sentence｜>"])
def test_any_text_goes_in(lmm: JanusLMM, text: str) -> None:
    ids = layout.text_ids(lmm.weights.processor, text)
    tokenizer = lmm.weights.processor.tokenizer
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.eos_token_id not in ids
