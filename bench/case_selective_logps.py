"""Log-probabilities of given tokens under a head [V, D], without and with gradients, the head frozen or trained.

`eager` is what one would write (bench/eager_selective_logps.py); `compile` is torch.compile's version of it. The floor
is matrix products: one for the logits, one more for the gradient of the hidden states, one more for that of the head.
The truth is computed in float64, a few tokens at a time. Extra memory goes to bench/results/selective_logps_memory.csv.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.cases import Case, compiled, ours
from bench.eager_selective_logps import eager_selective_logps as eager
from bench.timing import Way
from silmm.kernels import selective_logps

SEED, JANUS, EMU3 = 40_194, 16_384, 184_622  # vocabularies: SEED-LLaMA, Janus's pictures, Emu3
SHAPES = {  # (tokens, V, D)
    "cpu": ((256, JANUS, 1024), (256, SEED, 1024)),
    "cuda": ((1024, SEED, 4096), (12_288, SEED, 4096), (12_288, JANUS, 4096), (16_384, EMU3, 4096)),
}
KINDS = (("forward", "frozen head"), ("full", "frozen head"), ("full", "trained head"))
CHUNK = 512  # tokens at a time of the truth


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    """All shapes: forward, and with gradients by the hidden states alone and by the head too."""
    dtype = torch.bfloat16 if device.type == "cuda" and not quick else torch.float32
    for shape in ((6, 40, 16),) if quick else SHAPES[device.type]:
        for mode, head in KINDS:
            yield case(*shape, mode, head, dtype, device)


def case(tokens: int, vocab: int, width: int, mode: str, head: str, dtype: torch.dtype, device: torch.device) -> Case:
    """One shape. Inputs: hidden states, head, ids, upstream gradient."""
    trained = head == "trained head"

    def new() -> tuple[Any, ...]:
        hidden = torch.randn(tokens, width, device=device).to(dtype)
        weight = (torch.randn(vocab, width, device=device) * width**-0.5 * 2).to(dtype)
        ids = torch.randint(vocab, (tokens,), device=device)
        return hidden, weight, ids, torch.randn(tokens, device=device)

    def call(impl: str) -> Way:
        return with_gradients(lambda *given: selective_logps(*given, impl=impl), mode, trained)

    def truth(hidden: Tensor, weight: Tensor, ids: Tensor, upstream: Tensor) -> Any:
        return in_chunks(hidden, weight.double(), ids, upstream, mode, trained)

    products = 1 if mode == "forward" else 3 if trained else 2
    sides = tokens * width, vocab * width
    numbers = sum(sides) + (0 if mode == "forward" else sum(sides) if trained else sides[0])
    return Case(
        op="selective_logps", shape=f"{tokens}x{vocab}x{width} {head}", dtype=dtype, mode=mode,
        nbytes=numbers * dtype.itemsize + tokens * 12, flop=products * 2 * tokens * vocab * width, new=new, truth=truth,
        ways={
            "eager": with_gradients(eager, mode, trained), "compile": with_gradients(compiled(eager), mode, trained),
            **ours("selective_logps", device, call),
        },
        memory=True,
    )  # fmt: skip


def with_gradients(logps: Way, mode: str, trained: bool) -> Way:
    """The log-probabilities, and in mode `full` the gradients by the hidden states and by a trained head."""

    def run(hidden: Tensor, weight: Tensor, ids: Tensor, upstream: Tensor) -> Any:
        if mode == "forward":
            with torch.no_grad():
                return logps(hidden, weight, ids)
        leaves = [hidden.detach().requires_grad_(), *([weight.detach().requires_grad_()] if trained else [])]
        result = logps(leaves[0], leaves[1] if trained else weight, ids)
        return result.detach(), *torch.autograd.grad(result, leaves, upstream.to(result.dtype))

    return run


def in_chunks(hidden: Tensor, weight: Tensor, ids: Tensor, upstream: Tensor, mode: str, trained: bool) -> list[Tensor]:
    """The definition in float64, CHUNK tokens at a time, with the gradients written out: no autograd."""
    logps, grads = [], []
    grad_weight = torch.zeros_like(weight) if trained and mode == "full" else None
    for x, y, c in zip(hidden.double().split(CHUNK), ids.split(CHUNK), upstream.double().split(CHUNK), strict=True):
        log_probs = (x @ weight.T).log_softmax(1)
        logps.append(log_probs.gather(1, y[:, None])[:, 0])
        if mode == "full":
            by_logits = log_probs.exp_().mul_(-c[:, None])  # c (one-hot - softmax)
            by_logits.scatter_add_(1, y[:, None], c[:, None])
            grads.append(by_logits @ weight)
            if grad_weight is not None:
                grad_weight.addmm_(by_logits.T, x)
    found = [torch.cat(logps)]
    if mode == "full":
        found += [torch.cat(grads), *([] if grad_weight is None else [grad_weight])]
    return found
