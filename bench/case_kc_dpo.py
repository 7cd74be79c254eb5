"""KC-DPO's loss and gradient on features [pairs, 64, D] that differ by as much as those of a policy in training.

`eager` is the formula as it is usually written (bench/eager_kc_dpo.py); `compile` is torch.compile's version of it. In
the last variant the reference's, chosen and rejected features come already pooled, as a cache of them would have them:
then the policy's are all that there is to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from bench.cases import Case, compiled, ours
from bench.eager_kc_dpo import eager
from bench.timing import Way
from silmm.kernels import kc_dpo

LENGTH, GAMMA = 64, 5.0
# (pooling, distance, whether the others are already pooled)
VARIANTS = (
    ("none", "cosine", False),
    ("none", "euclidean", False),
    ("avg", "euclidean", False),
    ("avg", "cosine", False),
    ("avg", "cosine", True),
)
SHAPES = {"cpu": ((32, 1024), (8, 4096)), "cuda": ((1, 4096), (8, 4096), (32, 4096), (64, 4096))}  # (pairs, D)
NOT_COMPILED = {"cpu": (), "cuda": (8, 64)}  # pairs; compiling takes longer than all else
FORWARD = {"cpu": (32, 1024), "cuda": (32, 4096)}  # also timed without a gradient


def cases(device: torch.device, quick: bool) -> Iterator[Case]:
    """All variants of all shapes with gradients, and one shape without."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    for variant in VARIANTS:
        if quick:
            yield case((2, 3, 8), *variant, torch.float32, "full", device)
            continue
        for pairs, width in SHAPES[device.type]:
            yield case((pairs, LENGTH, width), *variant, dtype, "full", device)
    if not quick:
        pairs, width = FORWARD[device.type]
        yield case((pairs, LENGTH, width), *VARIANTS[0], dtype, "forward", device)


def case(
    shape: tuple[int, int, int], pooling: str, distance: str, pooled: bool, dtype: torch.dtype, mode: str,
    device: torch.device,
) -> Case:  # fmt: skip
    """One variant of one shape. Inputs: the four features."""

    def new() -> tuple[Any, ...]:
        ref = torch.randn(shape, device=device)
        feats = ref + 0.1 * torch.randn_like(ref)
        others = [ref, *(ref + 0.3 * torch.randn_like(ref) for _ in range(2))]
        if pooled:
            others = [x.mean(1) for x in others]
        return tuple(x.to(dtype) for x in (feats, *others))

    def call(impl: str) -> Way:
        def run(*sides: Tensor) -> Tensor:
            return kc_dpo(*sides, gamma=GAMMA, pooling=pooling, distance=distance, impl=impl)[0]

        return with_gradient(run, mode)

    def plain(feats: Tensor, *others: Tensor) -> Tensor:
        # what is pooled already has one position
        return eager(feats, *(x[:, None] if pooled else x for x in others), GAMMA, pooling, distance)

    def truth(*sides: Tensor) -> Any:
        return call("reference")(*(x.double() for x in sides))

    pairs, length, width = shape
    numbers = pairs * length * width * (1 if pooled else 4) + (3 * pairs * width if pooled else 0)
    if mode == "full":  # with `avg` the gradient is one row a pair, seen `length` times
        numbers += pairs * width * (1 if pooling == "avg" else length)
    what = f"{pooling}+{distance}{', others pooled' if pooled else ''}"
    rivals = {"eager": with_gradient(plain, mode)}
    if pairs not in NOT_COMPILED[device.type]:
        rivals["compile"] = with_gradient(compiled(plain), mode)
    return Case(
        op="kc_dpo", shape=f"{'x'.join(map(str, shape))} {what}", dtype=dtype, mode=mode,
        nbytes=numbers * dtype.itemsize, flop=0, new=new, truth=truth,
        ways={**rivals, **ours("kc_dpo", device, call)},
    )  # fmt: skip


def with_gradient(loss: Way, mode: str) -> Way:
    """The loss, and in mode `full` its gradient by the first argument."""

    def run(feats: Tensor, *others: Tensor) -> Any:
        if mode == "forward":
            with torch.no_grad():
                return loss(feats, *others)
        leaf = feats.detach().requires_grad_()
        value = loss(leaf, *others)
        return value.detach(), *torch.autograd.grad(value, leaf)

    return run
