"""Questions on one prefix: as if each were asked alone, and blind to each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm.errors import InputError
from silmm.lmm.hf import branches as packed
from silmm.lmm.hf.decoder import forward, left_pad, new_cache
from silmm.lmm.hf.text import TextModel
from silmm.probability import capped, mass
from silmm.stages.promises import probabilities

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


def sure(rows: int) -> torch.Tensor:
    """Logits of a model that is sure of one of six spellings: in float32, the sum of their probabilities exceeds 1 in
    every tenth row."""
    logits_NV = torch.randn(rows, 1000, generator=torch.Generator().manual_seed(0)) - 30
    logits_NV[:, :6] = torch.randn(rows, 6, generator=torch.Generator().manual_seed(1))
    return logits_NV


def test_rounding_makes_no_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    logits_NV = sure(500)
    assert (logits_NV.softmax(-1)[:, :6].sum(-1) > 1).float().mean() > 0.05
    monkeypatch.setattr(packed, "_hidden", lambda model, cache, mask, branches: [logits_NV])
    model = TextModel(None, torch.nn.Identity(), 0, frozenset(), 1)  # type: ignore[arg-type]
    mask = torch.ones(1, 1, dtype=torch.bool)
    (probs_N2,) = packed.yes_no(model, None, mask, [[[1]]], (list(range(6)), [6, 7]))
    assert probs_N2.max() == 1 and probs_N2.min() >= 0
    assert probabilities([probs_N2], [[""] * 500], Path("ckpt"))[0] is probs_N2


@pytest.mark.parametrize("value", [float("nan"), 1.1, 1.0001, float("inf"), -0.1])
def test_what_is_no_rounding_is_left_and_refused(value: float) -> None:
    probs_NV = torch.tensor([[0.5, value - 0.5, 0.0]])
    found_N = mass(probs_NV, [0, 1])
    assert found_N[0].item() == pytest.approx(value, nan_ok=True) and capped(value) == pytest.approx(value, nan_ok=True)
    with pytest.raises(InputError, match="no probabilities: its weights are damaged"):
        probabilities([torch.stack([found_N, found_N], 1).numpy()], [[""]], Path("ckpt"))


def test_sums_of_numbers_are_capped() -> None:
    assert [capped(p) for p in (0.25, 1.0, 1.0000001, 1 + 9e-6)] == [0.25, 1.0, 1.0, 1.0]
