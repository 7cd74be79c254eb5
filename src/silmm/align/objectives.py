"""What step 5 descends: DPO on visual tokens, or KC-DPO on features, each against a reference computed once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from silmm.align.kc_dpo import gamma_of_spread, kc_dpo
from silmm.align.losses import preference_loss, sequence_logps
from silmm.errors import InputError
from silmm.kernels.features import distance, pool
from silmm.lmm.interface import LMM, ContinuousImages, DiscreteImages
from silmm.schemas import AlignStats
from silmm.settings import Align

REFERENCE_BLOCK = 128


class Preferences(NamedTuple):
    """Training pairs, and the policy's own texts that it should still be able to write."""

    prompts: list[str]  # [M]
    chosen: np.ndarray  # tokens [M, L], or features [M, Q, D]
    rejected: np.ndarray  # likewise
    texts: list[tuple[str, str, str]]  # (task, input, output)


class TokenReference(NamedTuple):
    """Sequence log-probs under the policy that the iteration starts from."""

    chosen_M: Tensor
    rejected_M: Tensor


class FeatureReference(NamedTuple):
    """Features of the policy that the iteration starts from, and the loss's inverse temperature."""

    feats_MQD: Tensor
    gamma: float
    spreads_M: Tensor  # k(chosen, rejected) of each pair


Reference = TokenReference | FeatureReference


def reference_of(policy: LMM, data: Preferences, settings: Align) -> Reference:
    """The policy as it is now, seen through the pairs: the reference of this iteration."""
    if isinstance(policy, ContinuousImages):
        return reference_features(policy, data, settings)
    assert isinstance(policy, DiscreteImages)
    return reference_logps(policy, data, settings.rows)


@torch.no_grad()
def reference_logps(policy: DiscreteImages, data: Preferences, rows: int = 0) -> TokenReference:
    """Sequence log-probs of both sides, `rows` at a time (0: as many as is usual)."""
    block = rows or REFERENCE_BLOCK
    sides = []
    for tokens in (data.chosen, data.rejected):
        blocks = [
            sequence_logps(policy.token_logps(data.prompts[i : i + block], tokens[i : i + block]))
            for i in range(0, len(tokens), block)
        ]
        sides.append(torch.cat(blocks))
    return TokenReference(*sides)


@torch.no_grad()
def reference_features(policy: ContinuousImages, data: Preferences, settings: Align) -> FeatureReference:
    """Features of every pair's prompt; gamma as given, or from the spread of the pairs.

    Raises InputError when the pairs' features are not this policy's (another shape), or are all the same.
    """
    block = settings.rows or REFERENCE_BLOCK
    starts = range(0, len(data.prompts), block)
    feats = torch.cat([policy.features(data.prompts[i : i + block]) for i in starts])
    if feats.shape != data.chosen.shape:
        raise InputError(
            f"features of the pairs are {list(data.chosen.shape[1:])}, of the policy {list(feats.shape[1:])}:"
            " the images were drawn by another model"
        )
    spreads_M = pair_spreads(data, settings)
    if not settings.gamma and not spreads_M.any():
        raise InputError("chosen and rejected features do not differ: draw with DivDrop (images.rate above 0)")
    return FeatureReference(
        feats, settings.gamma or gamma_of_spread(float(spreads_M.mean()), settings.spreads), spreads_M
    )


def pair_spreads(data: Preferences, settings: Align) -> Tensor:
    """k(Hw, Hl) of each pair, `[M]`."""
    chosen, rejected = (pool(torch.from_numpy(side), settings.pooling) for side in (data.chosen, data.rejected))
    return distance(chosen, rejected, settings.distance, settings.sigma)


def spread_of(reference: FeatureReference) -> AlignStats:
    """The pairs' spread against gamma, for `align.stats.json`."""
    spreads_M = reference.spreads_M.double()
    low, median, high = torch.quantile(spreads_M, torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)).tolist()
    mean = float(spreads_M.mean())
    return AlignStats(len(spreads_M), reference.gamma, mean, low, median, high, reference.gamma * mean)


def objective(
    policy: LMM, data: Preferences, reference: Reference, settings: Align, rows: np.ndarray
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss, a scalar with gradients, and TRL's metrics, of the pairs with these numbers."""
    prompts, index = [data.prompts[i] for i in rows], torch.from_numpy(rows)
    if isinstance(reference, FeatureReference):
        assert isinstance(policy, ContinuousImages)
        return kc_dpo(
            policy.features(prompts),
            reference.feats_MQD[index],
            torch.from_numpy(data.chosen[rows]),
            torch.from_numpy(data.rejected[rows]),
            gamma=reference.gamma,
            pooling=settings.pooling,
            distance=settings.distance,
            sigma=settings.sigma,
            loss=settings.loss,
            sft_weight=settings.sft_weight,
        )
    assert isinstance(policy, DiscreteImages)
    both = policy.token_logps(prompts * 2, np.concatenate([data.chosen[rows], data.rejected[rows]]))
    return preference_loss(
        both[: len(rows)],
        both[len(rows) :],
        reference.chosen_M[index],
        reference.rejected_M[index],
        loss=settings.loss,
        beta=settings.beta,
        sft_weight=settings.sft_weight,
    )
