"""Nucleus sampling: logits with a spread like that of a trained model. `eager` draws with its own random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.cases import Case, ours
from bench.timing import Way
from silmm.kernels import nucleus

# (rows, vocabulary): ShapeWorld's visual codes; one Janus image; Emu3's visual codes; a whole text vocabulary
SHAPES = ((512, 256), (64, 16_384), (16, 32_768), (4, 184_622))
TOP_P = (0.9, 1.0)


def eager(logits_BV: Tensor, uniforms_B: Tensor, *, top_p: float) -> Tensor:
    """Nucleus sampling as it is usually written; the whole distribution needs no sort."""
    probs_BV = logits_BV.softmax(dim=1)
    if top_p >= 1.0:
        return torch.multinomial(probs_BV, 1).squeeze(1)
    probs_BV, order_BV = probs_BV.sort(dim=1, descending=True)
    probs_BV = probs_BV.masked_fill(probs_BV.cumsum(dim=1) - probs_BV >= top_p, 0.0)
    return order_BV.gather(1, torch.multinomial(probs_BV, 1)).squeeze(1)


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    """All shapes, with and without a cut."""
    for rows, vocab in ((2, 16),) if quick else SHAPES:
        for top_p in TOP_P:
            yield case(rows, vocab, top_p, device)


def case(rows: int, vocab: int, top_p: float, device: torch.device) -> Case:
    """Sampling from [rows, vocab]: every implementation gives the same tokens."""

    def new() -> tuple[Any, ...]:
        return torch.randn(rows, vocab, device=device) * 3, torch.rand(rows, device=device, dtype=torch.float64)

    def call(impl: str) -> Way:
        return lambda logits_BV, uniforms_B: nucleus(logits_BV, uniforms_B, top_p=top_p, impl=impl)

    return Case(
        op="nucleus", shape=f"{rows}x{vocab} top_p={top_p}", dtype=torch.float32, mode="forward",
        nbytes=rows * (4 * vocab + 16), flop=0, new=new,
        ways={"eager": lambda *inputs: eager(*inputs, top_p=top_p), **ours("nucleus", device, call)},
        truth=call("reference"), yardstick=None, other=("eager",),
    )  # fmt: skip
