"""Sums of probabilities: what rounding adds beyond 1 is taken off, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-5  # six float32 entries of a softmax over 150,000 reach 1 + 1e-6; what is further off is a fault


def capped(p: float) -> float:
    """A sum of probabilities: 1 where it exceeds 1 by rounding alone. What is further off, or no number, stays as it
    is, for whoever checks it."""
    return 1.0 if 1 < p <= 1 + ROUNDING else p


def mass(probs_NV: Tensor, ids: Sequence[int]) -> Tensor:
    """The probability of any of the tokens `ids`, `[N]` (`[]` of a single row): their sum, as `capped` has it."""
    sums_N = probs_NV[..., ids].sum(-1)
    return sums_N.masked_fill((sums_N > 1) & (sums_N <= 1 + ROUNDING), 1.0)
