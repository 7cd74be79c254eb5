"""Words and checks that functions on tensors share when they refuse an argument."""

from __future__ import annotations

from torch import Tensor


def describe(tensor: Tensor) -> str:
    """E.g. `float32 [3, 4]`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise ValueError naming the first number that is not finite, and its place."""
    finite = tensor.isfinite()
    if not bool(finite.all()):
        place = (~finite).nonzero()[0].tolist()
        raise ValueError(f"{name}: expected finite numbers, given {float(tensor[tuple(place)])} at {place}")
