"""Words and checks that functions on tensors share when they refuse an argument."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}  # that kernels take, by their number in portable.h


def describe(tensor: Tensor) -> str:
    """E.g. `float32 [3, 4]`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def rows_along_memory(tensor: Tensor) -> Tensor:
    """The tensor, copied where its last dimension does not lie along memory."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise ValueError naming the first number that is not finite, and its place."""
    finite = tensor.isfinite()
    if not bool(finite.all()):
        place = (~finite).nonzero()[0].tolist()
        raise ValueError(f"{name}: expected finite numbers, given {float(tensor[tuple(place)])} at {place}")
