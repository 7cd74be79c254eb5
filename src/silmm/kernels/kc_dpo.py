"""KC-DPO's loss on features, its distances and its gradient (SILMM, arXiv 2412.05818, Eq. 5 and Table 3).

With k a distance of pooled features, and H of the policy, Hr of the reference, Hw chosen, Hl rejected, of B pairs:

    margin = (k(Hr, Hw) - k(H, Hw)) - (k(Hr, Hl) - k(H, Hl))
    loss = mean(-log sigmoid(gamma margin)) + sft_weight mean k(H, Hw)

The log-sigmoid is that of `silmm.align.losses.dpo` with a distance for minus a log-probability. It stands here too,
because the gradient goes through it and kernels import nothing from above; a test holds the two together.

Every implementation but the reference reads each input once: it keeps, for the five differences that the loss and the
drift are made of, S = |a - b|^2 and M = |a|^2 - |b|^2 = (a - b) . (a + b), and the four norms. Then

    1 - cos(a, b) = (S - (M / (|a| + |b|))^2) / (2 |a| |b|)

which is 0 for equal vectors and loses no digits near them, as `features.distance` demands. (Of vectors that differ in
length alone the two halves cancel: what is left is about 1e-8 in place of 0.) The gradient is made in the
forward pass, for an upstream gradient of 1, while a pair is in cache: with scalars P, Q and R of the pair,

    P H + Q (H - Hw) + R (H - Hl)

(and over L for `avg`, where it is one row a pair). Sums have a fixed order, so a pair's distances and gradient do not
depend on its neighbours, and the same call gives the same bits; implementations agree to float32 rounding.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from silmm.kernels import _dispatch
from silmm.kernels.arguments import DTYPES, describe
from silmm.kernels.features import check_distance, check_pooling, one_of, pool, widened
from silmm.kernels.features import distance as distance_of

LOSSES = ("sigmoid", "sft")
FAST_POOLINGS = ("avg", "none")
FAST_DISTANCES = ("cosine", "euclidean", "squared_euclidean")  # by their number in csrc/kc_dpo.h


class Distances(NamedTuple):
    """What the loss is made of, each [B]."""

    chosen_B: Tensor  # k(H, Hw)
    rejected_B: Tensor  # k(H, Hl)
    ref_chosen_B: Tensor  # k(Hr, Hw)
    ref_rejected_B: Tensor  # k(Hr, Hl)
    drift_B: Tensor  # k(H, Hr)

    @property
    def margins_B(self) -> Tensor:
        """How much more H came nearer to the chosen than to the rejected: the sigmoid's argument is gamma times it.

        Cosine and squared distances cannot bring more than 2 sqrt(k(H, Hr) k(Hw, Hl)), reached where H moved from Hr
        along Hw - Hl: what a drift can win is set by the spread.
        """
        return (self.ref_chosen_B - self.chosen_B) - (self.ref_rejected_B - self.rejected_B)

    def detach(self) -> Distances:
        """The same numbers, without gradient."""
        return Distances(*(x.detach() for x in self))


class Objective(NamedTuple):
    """What is done with the features."""

    gamma: float
    pooling: str
    distance: str
    sigma: float
    loss: str
    sft_weight: float


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
    impl: str = "auto",
) -> tuple[Tensor, Distances]:
    """The loss, 0-d with gradient to `feats_BLD` alone, and the distances, detached; float32 (float64 of float64).

    Args:
        feats_BLD: the policy's features; none of B, L, D is 0.
        ref_feats, chosen_feats, rejected_feats: Hr, Hw, Hl, each [B, L, D] or what `features.pool` gives, in a dtype
            of its own.
        gamma: inverse temperature, > 0.
        pooling, distance, sigma: as of `features.pool` and `features.distance`. `max`, `query`, `rbf`, `laplace` and
            float64 are done by the reference alone.
        loss: `sigmoid`, as above, or `sft`, the second term alone.
        sft_weight: from 0; above 0 with `sft`.
        impl: `reference`, `cpp`, `triton`, `cuda` or `auto`.

    Numbers are not looked at: NaN and infinities go on into loss, distances and gradient. On a GPU without pooling the
    gradient is scaled in place, so backward through one loss runs once; a second time is refused.

    Raises:
        ValueError: a wrong argument, by name; fixed features that carry a gradient, which would mean that the policy
            itself stands where they should.
        RuntimeError: `impl` is not available here.
    """
    objective = Objective(gamma, pooling, distance, sigma, loss, sft_weight)
    others = {"ref_feats": ref_feats, "chosen_feats": chosen_feats, "rejected_feats": rejected_feats}
    _check_objective(objective)
    _check_features(feats_BLD, others, pooling)
    sides = (feats_BLD, *others.values())
    chosen = _dispatch.choose("kc_dpo", impl, feats_BLD.device, _limit(sides, objective))
    if chosen == "reference":
        return reference(feats_BLD, ref_feats, chosen_feats, rejected_feats, objective)
    if torch.is_grad_enabled() and feats_BLD.requires_grad:
        value, distances_5B = KCDPOFunction.apply(*sides, objective, chosen)
    else:
        value, distances_5B, _ = _raw(chosen).kc_dpo_fwd(_rows(sides, pooling), objective, False)
    return value, Distances(*distances_5B)


def reference(
    feats_BLD: Tensor, ref_feats: Tensor, chosen_feats: Tensor, rejected_feats: Tensor, objective: Objective
) -> tuple[Tensor, Distances]:
    """The definition, in plain torch, on any device, with gradients. Arguments are taken as checked."""
    gamma, pooling, name, sigma, loss, sft_weight = objective
    sides = (feats_BLD, ref_feats, chosen_feats, rejected_feats)
    d = _distances(sides, pooling, name, sigma)
    preference = -F.logsigmoid(gamma * d.margins_B).mean() if loss == "sigmoid" else 0.0
    return sft_weight * d.chosen_B.mean() + preference, d.detach()


def distances_of(
    feats_BLD: Tensor,
    ref_feats: Tensor,
    chosen_feats: Tensor,
    rejected_feats: Tensor,
    *,
    pooling: str = "avg",
    distance: str = "cosine",
    sigma: float = 1.0,
) -> Distances:
    """The distances alone, in plain torch, with gradient to `feats_BLD`: for a loss that no kernel has.

    Raises ValueError as `kc_dpo` does.
    """
    others = {"ref_feats": ref_feats, "chosen_feats": chosen_feats, "rejected_feats": rejected_feats}
    check_distance(distance, sigma)
    _check_features(feats_BLD, others, pooling)
    return _distances((feats_BLD, *others.values()), pooling, distance, sigma)


def _distances(sides: tuple[Tensor, ...], pooling: str, name: str, sigma: float) -> Distances:
    h, ref, chosen, rejected = (pool(x, pooling) if x.dim() == 3 else widened(x) for x in sides)
    return Distances(
        distance_of(h, chosen, name, sigma),
        distance_of(h, rejected, name, sigma),
        distance_of(ref, chosen, name, sigma),
        distance_of(ref, rejected, name, sigma),
        distance_of(h.detach(), ref, name, sigma),
    )


class KCDPOFunction(torch.autograd.Function):
    """The kernel's gradient, made in the forward pass; backward scales it."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        *sides, objective, impl = arguments
        value, distances_5B, grad_BN = _raw(impl).kc_dpo_fwd(_rows(sides, objective.pooling), objective, True)
        ctx.mark_non_differentiable(distances_5B)
        ctx.save_for_backward(grad_BN)
        ctx.shape, ctx.pooling, ctx.impl, ctx.scaled = sides[0].shape, objective.pooling, impl, False
        return value, distances_5B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        (grad_BN,) = ctx.saved_tensors
        if upstream.device.type == "cpu":
            grad_BN = grad_BN if float(upstream) == 1 else grad_BN * upstream
        elif ctx.pooling == "avg":  # small
            grad_BN = grad_BN * upstream
        else:  # no look at the number, which is on the GPU, and no pass over the gradient where it is 1
            if ctx.scaled:
                raise RuntimeError("kc_dpo: expected one backward through a loss, as it scales the gradient in place")
            ctx.scaled = True
            _raw(ctx.impl).kc_dpo_scale(grad_BN, upstream)
        grad_BLD = grad_BN.view(ctx.shape) if ctx.pooling == "none" else grad_BN[:, None].expand(ctx.shape)
        return grad_BLD, None, None, None, None, None


def _raw(impl: str) -> ModuleType:
    """The module with an implementation's `kc_dpo_fwd` and `kc_dpo_scale`."""
    if impl == "triton":
        from silmm.kernels import kc_dpo_triton

        return kc_dpo_triton
    from silmm.kernels import kc_dpo_native

    return kc_dpo_native


def _rows(sides: Any, pooling: str) -> list[Tensor]:
    """Features as kernels take them: [B, R, N], contiguous, of which the mean over R is the vector of a pair."""
    batch = len(sides[0])
    if pooling == "none":
        return [x.detach().reshape(batch, 1, -1).contiguous() for x in sides]
    return [x.detach().reshape(batch, -1, x.shape[-1]).contiguous() for x in sides]


def _limit(sides: tuple[Tensor, ...], objective: Objective) -> str:
    """What of a call only the reference does, in words."""
    if objective.pooling not in FAST_POOLINGS:
        return f"pooling {objective.pooling!r}"
    if objective.distance not in FAST_DISTANCES:
        return f"distance {objective.distance!r}"
    return next((str(x.dtype).removeprefix("torch.") for x in sides if x.dtype not in DTYPES), "")


def _check_objective(o: Objective) -> None:
    if o.loss not in LOSSES:
        raise ValueError(f"loss: expected {one_of(LOSSES)}, given {o.loss!r}")
    if not (math.isfinite(o.gamma) and o.gamma > 0):
        raise ValueError(f"gamma: expected a finite number above 0, given {o.gamma}")
    if not (math.isfinite(o.sft_weight) and o.sft_weight >= 0) or (o.loss == "sft" and o.sft_weight == 0):
        least = "above 0 with loss 'sft', which is nothing else" if o.loss == "sft" else "from 0"
        raise ValueError(f"sft_weight: expected a finite number {least}, given {o.sft_weight}")
    check_distance(o.distance, o.sigma)


def _check_features(feats_BLD: Tensor, others: dict[str, Tensor], pooling: str) -> None:
    if feats_BLD.dim() != 3 or 0 in feats_BLD.shape or not feats_BLD.is_floating_point():
        raise ValueError(f"feats: expected floating [B, L, D], none of them 0, given {describe(feats_BLD)}")
    check_pooling(pooling)
    rows, length, dim = feats_BLD.shape
    pooled = {"none": (rows, length * dim), "query": (rows, length, dim)}.get(pooling, (rows, dim))
    for name, tensor in others.items():
        if tensor.requires_grad:
            raise ValueError(f"{name}: expected features without gradient (torch.no_grad()), given some with")
        if tuple(tensor.shape) not in ((rows, length, dim), pooled) or not tensor.is_floating_point():
            shapes = " or ".join(str(list(shape)) for shape in dict.fromkeys(((rows, length, dim), pooled)))
            raise ValueError(f"{name}: expected floating {shapes}, given {describe(tensor)}")
        if tensor.device != feats_BLD.device:
            raise ValueError(f"{name}: expected on {feats_BLD.device} like feats, given on {tensor.device}")
