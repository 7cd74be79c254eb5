"""DivDrop of DreamLLM's MLP: 64 queries, 11008 hidden features, 4096 at the output.

`eager` is silu, product and `F.dropout` of the shared trunk's result, seen as that of N samples: the same work with
random numbers of its own, which no one can draw again. `compile` is torch.compile's version of that, and `reference`
the named masks in plain torch. Masks cost no bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.cases import Case, compiled, liger, ours
from bench.check import Wrong
from bench.timing import Way
from silmm.kernels import divdrop
from silmm.kernels.divdrop import drop_mask

QUERIES, HIDDEN, WIDTH = 64, 11_008, 4096
RATE, LAYER = 0.4, 31
CPU = ((1, 5), (1, 10), (1, 30), (8, 10))  # (prompts, samples)
CUDA = ((1, 5), (1, 10), (1, 30), (8, 5), (8, 10), (8, 30))
FAN_OUT, SAME_BATCH, OUTPUT = "hidden, fan-out", "hidden, same batch", "output, fan-out"


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    """Fan-out at the hidden site by prompts and samples, then once each: the same batch, the output site, gradients."""
    if quick:
        for kind in (FAN_OUT, SAME_BATCH, OUTPUT):
            yield case(kind, 2, 3, 5, 13, device, torch.float32, "forward")
        return
    cuda = device.type == "cuda"
    dtype, prompts = (torch.bfloat16, 8) if cuda else (torch.float32, 1)
    for p, n in CUDA if cuda else CPU:
        yield case(FAN_OUT, p, n, QUERIES, HIDDEN, device, dtype, "forward")
    yield case(SAME_BATCH, prompts, 10, QUERIES, HIDDEN, device, dtype, "forward")
    yield case(OUTPUT, prompts, 10, QUERIES, WIDTH, device, dtype, "forward")
    yield case(FAN_OUT, prompts, 10, QUERIES, HIDDEN, device, dtype, "full")


def case(
    kind: str, prompts: int, samples: int, queries: int, width: int, device: torch.device, dtype: torch.dtype, mode: str
) -> Case:
    """One shape. Inputs: x, up (None at the output), keys, samples, positions, upstream gradient (None for forward)."""
    site = "output" if kind == OUTPUT else "hidden"
    out = (prompts, samples, queries, width)
    shape = out if kind == SAME_BATCH else (prompts, queries, width)
    gradients = mode == "full"

    def tensor(of: tuple[int, ...]) -> Tensor:
        return torch.randn(of, device=device).to(dtype)

    def new() -> tuple[Any, ...]:
        x, up = tensor(shape), tensor(shape) if site == "hidden" else None
        return x, up, *names(prompts, samples, queries, device), tensor(out) if gradients else None

    def call(impl: str) -> Way:
        def run(x: Tensor, up: Tensor | None, keys: Tensor, samples_N: Tensor, positions: Tensor) -> Tensor:
            where = {"keys_P": keys, "samples_N": samples_N, "positions_T": positions}
            return divdrop(x, up, **where, layer=LAYER, site=site, rate=RATE, impl=impl)

        return _with_gradients(run)

    def plain(x: Tensor, up: Tensor | None, keys: Tensor, samples_N: Tensor, positions: Tensor) -> Tensor:
        y = x if up is None else F.silu(x) * up
        return F.dropout(y if y.dim() == 4 else y[:, None].expand(out), RATE)

    def truth(x: Tensor, up: Tensor | None, *rest: Any) -> Any:
        return call("reference")(x.double(), None if up is None else up.double(), *rest)

    traffic = math.prod(shape) * (1 if site == "output" else 2) * (2 if gradients else 1) + math.prod(out)
    ways = {"eager": _with_gradients(plain), "compile": _with_gradients(compiled(plain))}
    if (swiglu := liger("ops.swiglu.LigerSiLUMulFunction")) and site == "hidden":
        fan = lambda x, up, *_: F.dropout(_fanned(swiglu.apply(x, up), out), RATE)  # noqa: E731
        ways["liger"] = _with_gradients(fan)
    return Case(
        op="divdrop", shape=f"P={prompts} N={samples} {queries}x{width}; {kind}", dtype=dtype, mode=mode,
        nbytes=(traffic + (math.prod(out) if gradients else 0)) * dtype.itemsize, flop=0, new=new,
        ways={**ways, **ours("divdrop", device, call)}, truth=truth, yardstick="reference",
        other=("eager", "compile", "liger"), also=lambda: same_masks(device, dtype, site, width, call),
    )  # fmt: skip


def _fanned(y: Tensor, out: tuple[int, ...]) -> Tensor:
    return y if y.dim() == 4 else y[:, None].expand(out)


def _with_gradients(forward: Way) -> Way:
    """The same, and where an upstream gradient is given the gradients of x and up with it."""

    def run(*inputs: Any) -> Any:
        *given, upstream = inputs
        if upstream is None:
            with torch.no_grad():
                return forward(*given)
        x, up, *rest = given
        leaves = [t.detach().requires_grad_() for t in (x, up) if t is not None]
        result = forward(leaves[0], leaves[1] if up is not None else None, *rest)
        return result.detach(), *torch.autograd.grad(result, leaves, upstream.to(result.dtype))

    return run


def names(prompts: int, samples: int, queries: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, samples and positions: what names the masks."""
    keys = torch.arange(prompts) * 0x9E3779B97F4A7C1 + 0x0123456789ABCDEF
    return keys.to(device), torch.arange(samples, device=device), torch.arange(queries, device=device)


def same_masks(device: torch.device, dtype: torch.dtype, site: str, width: int, call: Any) -> None:
    """Raise `Wrong` where an implementation on `device` drops other elements than the masks' definition on the CPU."""
    prompts, samples, queries = 2, 3, 4
    wanted = drop_mask(*names(prompts, samples, queries, torch.device("cpu")), width, LAYER, site, RATE)
    ones = torch.ones(prompts, queries, width, device=device, dtype=dtype)
    for impl, way in ours("divdrop", device, call).items():
        kept = way(ones, ones if site == "hidden" else None, *names(prompts, samples, queries, device), None) != 0
        if not torch.equal(kept.cpu(), wanted):
            different = int((kept.cpu() != wanted).sum())
            raise Wrong(f"divdrop {impl} on {device}: {different} of {wanted.numel()} mask bits differ")
