"""Guidance, the likeliest few, the nucleus."""

from __future__ import annotations

import pytest
import torch

from silmm.lmm.hf.choice import choose, guide
from silmm.lmm.interface import Sampling


def test_guidance_is_that_of_log_softmaxed_logits() -> None:
    """What references do; here the plain logits are guided."""
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)) * 3
    numbers = torch.rand(3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    given, free = logits.log_softmax(-1).chunk(2)
    guided = free + 4.0 * (given - free)
    own = choose(guide(logits, 4.0), numbers, Sampling())
    assert (own == choose(guided, numbers, Sampling())).all()
    assert (choose(guide(logits, 4.0), numbers, Sampling(top_k=1)) == guided.argmax(-1)).all()


def test_no_guidance_leaves_every_row() -> None:
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0), dtype=torch.bfloat16)
    assert torch.equal(guide(logits, 1.0), logits.float())


@pytest.mark.parametrize("top_k", [1, 3, 50, 99])
def test_top_k_leaves_the_likeliest(top_k: int) -> None:
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).expand(400, 50)
    numbers = torch.linspace(0, 0.9999, 400, dtype=torch.float64)
    chosen = set(choose(logits, numbers, Sampling(top_k=top_k)).tolist())
    assert chosen <= set(logits[0].topk(min(top_k, 50)).indices.tolist())
    assert len(chosen) > min(top_k, 20) / 2
