"""Questions on one prefix: as if each were asked alone, and blind to each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm.lmm.hf import branches as packed
from silmm.lmm.hf.decoder import forward, left_pad, new_cache
from silmm.lmm.hf.text import TextModel

PREFIXES = [[1, 5, 7, 9], [1, 11], [1, 3, 4]]
BRANCHES = [[[6, 8], [10], [12, 14, 16]], [], [[9, 9]]]
WORDS = ([20, 21], [22])


def ask(model: TextModel, prefixes: list[list[int]], branches: list[list[list[int]]]) -> list[np.ndarray]:
    ids, mask = left_pad(prefixes, model.pad)
    cache = new_cache(model.decoder, ids.shape[1] + packed.packed_width(branches))
    with torch.no_grad():
        forward(model.decoder, model.embed(ids), mask, cache)
    return packed.yes_no(model, cache, mask, branches, WORDS)


def test_as_if_asked_alone(llama: LlamaForCausalLM, speaker: TextModel) -> None:
    found = ask(speaker, PREFIXES, BRANCHES)
    for prefix, row, probs in zip(PREFIXES, BRANCHES, found, strict=True):
        assert probs.shape == (len(row), 2) and probs.dtype == np.float32
        for branch, (p_yes, p_no) in zip(row, probs, strict=True):
            with torch.no_grad():
                wanted = llama(torch.tensor([prefix + branch])).logits[0, -1].softmax(-1)
            assert p_yes == pytest.approx(float(wanted[[20, 21]].sum()), abs=1e-6)
            assert p_no == pytest.approx(float(wanted[22]), abs=1e-6)


def test_blind_to_each_other(speaker: TextModel) -> None:
    one = ask(speaker, PREFIXES[:1], [[[6, 8], [10]]])[0]
    other = ask(speaker, PREFIXES[:1], [[[6, 8], [13]]])[0]
    assert one[0] == pytest.approx(other[0], abs=1e-7) and one[1] != pytest.approx(other[1], abs=1e-4)


def test_no_questions_at_all(speaker: TextModel) -> None:
    assert [probs.shape for probs in ask(speaker, PREFIXES, [[], [], []])] == [(0, 2)] * 3
