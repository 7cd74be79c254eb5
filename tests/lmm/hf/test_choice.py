"""Guidance, the likeliest few, the nucleus."""

from __future__ import annotations

import pytest
import torch

from silmm.lmm.hf.choice import choose, guide
from silmm.lmm.interface import Sampling


def test_guidance_is_that_of_log_softmaxed_logits() -> None:
    """What references do; here the states before a linear head are guided."""
    generator = torch.Generator().manual_seed(0)
    states, head = torch.randn(6, 16, generator=generator), torch.nn.Linear(16, 50)
    numbers = torch.rand(3, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        given, free = head(states).log_softmax(-1).chunk(2)
        own = head(guide(states, 4.0))
    guided = free + 4.0 * (given - free)
    torch.testing.assert_close(own.log_softmax(-1), guided.log_softmax(-1))
    assert (choose(own, numbers, Sampling()) == choose(guided, numbers, Sampling())).all()
    assert (choose(own, numbers, Sampling(top_k=1)) == guided.argmax(-1)).all()


def test_guidance_of_half_precision_is_rounded_once() -> None:
    states = torch.randn(6, 50, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    given, free = states.double().chunk(2)
    found = guide(states, 4.0)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), free + 4.0 * (given - free), rtol=2**-8, atol=0)
    assert guide(states, 1.0) is states


@pytest.mark.parametrize("top_k", [1, 3, 50, 99])
def test_top_k_leaves_the_likeliest(top_k: int) -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).expand(400, 50)
    numbers = torch.linspace(0, 0.9999, 400, dtype=torch.float64)
    chosen = set(choose(logits, numbers, Sampling(top_k=top_k)).tolist())
    assert chosen <= set(logits[0].topk(min(top_k, 50)).indices.tolist())
    assert len(chosen) > min(top_k, 20) / 2
