"""Pooling of features and distances between them: what KC-DPO's kernel is made of, in plain torch with gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from silmm.kernels.arguments import describe

POOLINGS = ("avg", "max", "none", "query")
DISTANCES = ("cosine", "euclidean", "squared_euclidean", "rbf", "laplace")
EPS = 1e-8  # a vector that is not longer has no direction


def pool(feats_BLD: Tensor, pooling: str) -> Tensor:
    """Features as `distance` takes them, in float32 at least (a distance of near neighbours needs the digits).

    `avg`, `max`: [B, D], over the L positions. At ties the gradient of `max` is shared evenly.
    `none`: [B, L * D], the matrix as one vector: the paper's "no aggregation", Frobenius norms.
    `query`: [B, L, D], which `distance` takes position by position and averages over L. Not in the paper; for
        cosines it differs from `none` in that every position weighs the same, however long its vector.
    """
    check_pooling(pooling)
    if feats_BLD.dim() != 3 or not feats_BLD.is_floating_point():
        raise ValueError(f"feats: expected floating [B, L, D], given {describe(feats_BLD)}")
    feats_BLD = widened(feats_BLD)
    if pooling == "avg":
        return feats_BLD.mean(1)
    if pooling == "max":
        return feats_BLD.amax(1)
    return feats_BLD.flatten(1) if pooling == "none" else feats_BLD


def distance(a: Tensor, b: Tensor, name: str, sigma: float = 1.0) -> Tensor:
    """Distances [B] of the rows of a and b [B, ..., D]: over the last axis, then the mean over those between.

    `cosine`: 1 - cos, as half the squared distance of unit vectors: exactly 0 for equal rows, and no digits are lost
        near them. A vector not longer than EPS has the unit vector 0, and no gradient.
    `euclidean`, `squared_euclidean`: |a - b| and its square, summed over D.
    `rbf`: 1 - exp(-|a - b|^2 / (2 sigma^2)).
    `laplace`: 1 - exp(-|a - b| / sigma), with the Euclidean norm (some libraries take the sum of absolute values).

    All are 0 with gradient 0 where a equals b, also those that have a kink there.
    """
    check_distance(name, sigma)
    if a.shape != b.shape or a.dim() < 2:
        raise ValueError(f"distance: expected two tensors of one shape [B, ..., D], given {describe(a)}, {describe(b)}")
    a, b = widened(a), widened(b)
    if name == "cosine":
        d = (_unit(a) - _unit(b)).square().sum(-1) / 2
    elif name == "squared_euclidean":
        d = (a - b).square().sum(-1)
    elif name == "rbf":
        d = -torch.expm1(-(a - b).square().sum(-1) / (2 * sigma**2))
    else:
        d = torch.linalg.vector_norm(a - b, dim=-1)  # its gradient at 0 is 0; that of sqrt(sum) would be nan
        d = -torch.expm1(-d / sigma) if name == "laplace" else d
    return d.flatten(1).mean(1) if d.dim() > 1 else d


def check_pooling(name: str) -> None:
    """Raise ValueError where `pool` does not take this."""
    if name not in POOLINGS:
        raise ValueError(f"pooling: expected {one_of(POOLINGS)}, given {name!r}")


def check_distance(name: str, sigma: float) -> None:
    """Raise ValueError where `distance` does not take these."""
    if name not in DISTANCES:
        raise ValueError(f"distance: expected {one_of(DISTANCES)}, given {name!r}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma: expected a finite number above 0, given {sigma}")


def widened(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def one_of(names: tuple[str, ...]) -> str:
    """`a, b or c`."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _unit(x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    short = norm <= EPS
    return (x / norm.masked_fill(short, 1.0)).masked_fill(short, 0.0)
