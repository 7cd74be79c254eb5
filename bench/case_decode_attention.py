"""One step of decoding with ShapeWorld's LMM: 4 heads of 24, 24 prefix places. `eager` is the reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.cases import Case, ours
from bench.timing import Way
from silmm.kernels import decode_attention
from silmm.kernels.decode_attention import Cache, Prefix, reference

HEADS, DIM, START, LENGTH = 4, 24, 24, 40
SCALE = 0.2
STEPS = ((64, 8, 0), (64, 8, 17), (64, 8, 35), (64, 1, 17))  # (prompts, samples, place of the step)


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    """Steps at several places."""
    if device.type == "cpu":
        for step in ((2, 2, 3),) if quick else STEPS:
            yield case(*step)


def case(prompts: int, samples: int, place: int) -> Case:
    """The step that fills `place`. Inputs: q, k, v, cosine, sine, prefix (3), cache (2)."""
    rows = prompts * samples

    def new() -> tuple[Any, ...]:
        qkv, rotary = torch.randn(3, rows, HEADS, DIM), torch.randn(2, DIM)
        keys, values = torch.randn(prompts, HEADS, DIM, START), torch.randn(prompts, HEADS, START, DIM)
        cache = torch.randn(rows, HEADS, DIM, LENGTH), torch.randn(rows, HEADS, LENGTH, DIM)
        return *qkv, *rotary, keys, values, torch.ones(prompts, START, dtype=torch.bool), *cache

    def call(impl: str) -> Way:
        def run(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor, *rest: Tensor) -> Tensor:
            prefix, cache = Prefix(*rest[:3]), Cache(*rest[3:])
            return decode_attention(q, k, v, (cos, sin), prefix, cache, place, scale=SCALE, impl=impl)

        return run

    def truth(*inputs: Tensor) -> Tensor:
        q, k, v, cos, sin, *rest = (t.double() if t.is_floating_point() else t for t in inputs)
        return reference(q, k, v, (cos, sin), Prefix(*rest[:3]), Cache(*rest[3:]), place, SCALE)

    places = rows * (place + 1) + prompts * START
    return Case(
        op="decode_attention", shape=f"{prompts}x{samples} place={place}", dtype=torch.float32, mode="forward",
        nbytes=4 * HEADS * DIM * (2 * places + 4 * rows), flop=4 * HEADS * DIM * rows * (place + 1 + START), new=new,
        ways={"eager": call("reference"), **ours("decode_attention", torch.device("cpu"), call)}, truth=truth,
    )  # fmt: skip
