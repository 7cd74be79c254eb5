"""KC-DPO: step 5's loss for continuous images (SILMM, arXiv 2412.05818), in pure functions on features.

A continuous image is a matrix of features H [L, D] (of dream queries, say), which has no likelihood. A Gaussian of
width s around the policy's own features gives it one: log p(H') = -k(H, H') / (2 s^2) + constant, with k the squared
distance. DPO on that, with the reference's features Hr, the chosen Hw and the rejected Hl of the same prompt, and
gamma = beta / (2 s^2), is

    loss = -log sigmoid(gamma (-k(H, Hw) + k(Hr, Hw) + k(H, Hl) - k(Hr, Hl)))

The paper's Eq. 5 has that k on whole matrices; its kernel continuous DPO pools over L first and takes other distances
(best in its Table 3: average and cosine). Shapes ride on the names: B pairs, L positions, D features;
references, chosen and rejected may come as features [B, L, D] or already pooled, which is what is worth caching.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from silmm.align.losses import LOSSES, dpo, reward_metrics
from silmm.kernels.arguments import check_finite, describe

POOLINGS = ("avg", "max", "none", "query")
DISTANCES = ("cosine", "euclidean", "squared_euclidean", "rbf", "laplace")
SATURATED = 3.0  # a sigmoid's argument from which on a pair's gradient is below 5 % of its largest
EPS = 1e-8  # a shorter vector has no direction


class Distances(NamedTuple):
    """What the loss is made of, each [B]."""

    chosen_B: Tensor  # k(H, Hw)
    rejected_B: Tensor  # k(H, Hl)
    ref_chosen_B: Tensor  # k(Hr, Hw)
    ref_rejected_B: Tensor  # k(Hr, Hl)
    drift_B: Tensor  # k(H, Hr)


def gamma_of_spread(spread: float, spreads: float = 3.0) -> float:
    """A gamma for the spread mean k(Hw, Hl) of the pairs: `spreads` / spread, so that the sigmoid is at work whatever k
    is.

    A rule of ours: 3 was measured on a small continuous model (cosine, spread 0.19, so gamma 15.6). The paper gives
    one number, 6 on DreamLLM, where the spread is not known.
    """
    if not (math.isfinite(spread) and spread > 0):
        raise ValueError(f"spread: expected a finite number above 0, given {spread}")
    return spreads / spread


def pool(feats_BLD: Tensor, pooling: str) -> Tensor:
    """Features as `distance` takes them, in float32 at least (a distance of near neighbours needs the digits).

    `avg`, `max`: [B, D], over the L positions. At ties the gradient of `max` is shared evenly.
    `none`: [B, L * D], the matrix as one vector: the paper's "no aggregation", Frobenius norms.
    `query`: [B, L, D], which `distance` takes position by position and averages over L. Not in the paper; for
        cosines it differs from `none` in that every position weighs the same, however long its vector.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling: expected {_one_of(POOLINGS)}, given {pooling!r}")
    if feats_BLD.dim() != 3 or not feats_BLD.is_floating_point():
        raise ValueError(f"feats: expected floating [B, L, D], given {describe(feats_BLD)}")
    feats_BLD = _wide(feats_BLD)
    if pooling == "avg":
        return feats_BLD.mean(1)
    if pooling == "max":
        return feats_BLD.amax(1)
    return feats_BLD.flatten(1) if pooling == "none" else feats_BLD


def distance(a: Tensor, b: Tensor, name: str, sigma: float = 1.0) -> Tensor:
    """Distances [B] of the rows of a and b [B, ..., D]: over the last axis, then the mean over those between.

    `cosine`: 1 - cos, as half the squared distance of unit vectors: exactly 0 for equal rows, and no digits are lost
        near them. A vector shorter than EPS has the unit vector 0, and no gradient.
    `euclidean`, `squared_euclidean`: |a - b| and its square, summed over D.
    `rbf`: 1 - exp(-|a - b|^2 / (2 sigma^2)).
    `laplace`: 1 - exp(-|a - b| / sigma), with the Euclidean norm (some libraries take the sum of absolute values).

    All are 0 with gradient 0 where a equals b, also those that have a kink there.
    """
    if name not in DISTANCES:
        raise ValueError(f"distance: expected {_one_of(DISTANCES)}, given {name!r}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma: expected a finite number above 0, given {sigma}")
    if a.shape != b.shape or a.dim() < 2:
        raise ValueError(f"distance: expected two tensors of one shape [B, ..., D], given {describe(a)}, {describe(b)}")
    a, b = _wide(a), _wide(b)
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


def kc_dpo(
    feats_BLD: Tensor,
    ref_feats: Tensor,
    chosen_feats: Tensor,
    rejected_feats: Tensor,
    *,
    gamma: float,
    pooling: str = "avg",
    distance: str = "cosine",
    sigma: float = 1.0,
    loss: str = "sigmoid",
    sft_weight: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss that step 5 descends, a scalar, and its metrics (detached 0-d tensors), TRL's names where it has them.

    `loss="sigmoid"`: mean(KC-DPO) + sft_weight * mean k(H, Hw), a winner anchor (the paper has none: 0).
    `loss="sft"`: sft_weight * mean k(H, Hw), the SFT rows of the paper's Table 3 (at weight 1). The metrics of KC-DPO
        are still measured, never descended.

    Args:
        feats_BLD: the policy's features, with gradient, one row a pair: a prompt's row is repeated for its pairs.
        ref_feats, chosen_feats, rejected_feats: Hr, Hw, Hl, [B, L, D] or what `pool` gives; a gradient through them is
            refused, as it would mean that the policy itself stands where fixed features should.
        gamma: inverse temperature, > 0; see `gamma_of_spread`.
        pooling, distance, sigma: of POOLINGS, of DISTANCES, and the width that rbf and laplace need.

    Metrics: loss; dpo_loss; rewards/{chosen,rejected,margins,accuracies}, a reward being gamma (k(Hr, .) - k(H, .));
    rewards/saturated, the share of pairs whose margin is above SATURATED, so that they hardly teach any more;
    distance/chosen and distance/rejected, k(H, .); and drift, k(H, Hr).

    Raises:
        ValueError: a wrong argument, by name; features that are not finite, or that carry a gradient and should not.
    """
    _check_options(gamma, loss, sft_weight)
    h = _pooled("feats", feats_BLD, feats_BLD, pooling)
    others = {"ref_feats": ref_feats, "chosen_feats": chosen_feats, "rejected_feats": rejected_feats}
    for name, tensor in others.items():
        if tensor.requires_grad:
            raise ValueError(f"{name}: expected features without gradient (torch.no_grad()), given some with")
    ref, chosen, rejected = (_pooled(name, x, feats_BLD, pooling) for name, x in others.items())
    d = _distances(h, ref, chosen, rejected, distance, sigma)
    # DPO as it is for tokens: a log-probability is -k.
    sides = (-d.chosen_B, -d.rejected_B, -d.ref_chosen_B, -d.ref_rejected_B)
    preference = dpo(*sides, gamma).mean()
    total = sft_weight * d.chosen_B.mean() + (preference if loss == "sigmoid" else 0.0)
    with torch.no_grad():
        metrics = {
            "loss": total.detach(),
            "dpo_loss": preference.detach(),
            **reward_metrics(*sides, gamma),
            "rewards/saturated": (gamma * _margins(d) > SATURATED).to(total.dtype).mean(),
            "distance/chosen": d.chosen_B.mean(),
            "distance/rejected": d.rejected_B.mean(),
            "drift": d.drift_B.mean(),
        }
    return total, metrics


def _distances(h: Tensor, ref: Tensor, chosen: Tensor, rejected: Tensor, name: str, sigma: float) -> Distances:
    with torch.no_grad():
        drift_B = distance(h, ref, name, sigma)
    return Distances(
        distance(h, chosen, name, sigma),
        distance(h, rejected, name, sigma),
        distance(ref, chosen, name, sigma),
        distance(ref, rejected, name, sigma),
        drift_B,
    )


def _margins(d: Distances) -> Tensor:
    """How much more H came nearer to the chosen than to the rejected, `[B]`: the sigmoid's argument is gamma times it.

    Cosine and squared distances cannot bring more than 2 sqrt(k(H, Hr) k(Hw, Hl)), reached where H moved from Hr along
    Hw - Hl: what a drift can win is set by the spread.
    """
    return (d.ref_chosen_B - d.chosen_B) - (d.ref_rejected_B - d.rejected_B)


def _unit(x: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    short = norm <= EPS
    return (x / norm.masked_fill(short, 1.0)).masked_fill(short, 0.0)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _pooled(name: str, tensor: Tensor, feats_BLD: Tensor, pooling: str) -> Tensor:
    """`tensor` pooled, unless it is already; refused by name where it does not belong to the policy's features."""
    if feats_BLD.dim() != 3 or 0 in feats_BLD.shape or not feats_BLD.is_floating_point():
        raise ValueError(f"feats: expected floating [B, L, D], none of them 0, given {describe(feats_BLD)}")
    rows, length, dim = feats_BLD.shape
    pooled = {"none": (rows, length * dim), "query": (rows, length, dim)}.get(pooling, (rows, dim))
    if tuple(tensor.shape) not in ((rows, length, dim), pooled) or not tensor.is_floating_point():
        shapes = " or ".join(str(list(shape)) for shape in dict.fromkeys(((rows, length, dim), pooled)))
        raise ValueError(f"{name}: expected floating {shapes}, given {describe(tensor)}")
    if tensor.device != feats_BLD.device:
        raise ValueError(f"{name}: expected on {feats_BLD.device} like feats, given on {tensor.device}")
    check_finite(name, tensor)
    return pool(tensor, pooling) if tensor.dim() == 3 else _wide(tensor)


def _check_options(gamma: float, loss: str, sft_weight: float) -> None:
    if loss not in LOSSES:
        raise ValueError(f"loss: expected {_one_of(LOSSES)}, given {loss!r}")
    if not (math.isfinite(gamma) and gamma > 0):
        raise ValueError(f"gamma: expected a finite number above 0, given {gamma}")
    if not (math.isfinite(sft_weight) and sft_weight >= 0) or (loss == "sft" and sft_weight == 0):
        least = "above 0 with loss 'sft', which is nothing else" if loss == "sft" else "from 0"
        raise ValueError(f"sft_weight: expected a finite number {least}, given {sft_weight}")


def _one_of(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
