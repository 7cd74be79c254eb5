"""A sigmoid in plain torch whose bits are those of csrc/sigmoid.h: single IEEE operations in one order, no library.

float64 has torch's own: it is there for derivatives by differences and for the truth that tests measure against.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LIMIT = 87.0  # exp and its inverse are normal float32 numbers up to here
LOG2E = 1.44269504
LN2_HI, LN2_LO = 0.693359375, -2.12194440e-4  # ln 2 in two parts (Cephes)
ROUND = 12582912.0  # 1.5 * 2^23: adding it rounds to an integer
COEFFICIENTS = (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)


def exp_within(x: Tensor) -> Tensor:
    """exp of float32 numbers in [-LIMIT, LIMIT], relative error below 2e-7, as in csrc/exp.h. NaN stays NaN."""
    shifted = x * LOG2E + ROUND
    k = shifted - ROUND
    r = (x - k * LN2_HI) - k * LN2_LO
    p = torch.full_like(r, 1.9875691500e-4)
    for coefficient in COEFFICIENTS:
        p = p * r + coefficient
    p = (p * r * r + r) + 1.0
    two_to_k = ((shifted.view(torch.int32) << 23) + (127 << 23)).view(torch.float32)
    return p * two_to_k


class SigmoidFunction(torch.autograd.Function):
    """The derivative is s (1 - s), which the bit tricks would hide from autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """1 / (1 + exp(-x)) of float32 numbers."""
        s = (1.0 + exp_within((-x).clamp(-LIMIT, LIMIT))).reciprocal()
        ctx.save_for_backward(s)
        return s

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Of x."""
        (s,) = ctx.saved_tensors
        return grad * (s * (1.0 - s))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)) of float32 or float64 numbers, with gradients."""
    return torch.sigmoid(x) if x.dtype == torch.float64 else SigmoidFunction.apply(x)


def silu(x: Tensor) -> Tensor:
    """x sigmoid(x) of float32 or float64 numbers, with gradients."""
    return torch.nn.functional.silu(x) if x.dtype == torch.float64 else x * sigmoid(x)
