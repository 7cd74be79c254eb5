"""What step 5 descends: DPO on visual tokens, or KC-DPO on features, each against a reference computed once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from silmm.align.kc_dpo import gamma_of_spread, kc_dpo
from silmm.align.losses import preference_loss, sequence_logps
from silmm.align.parts import Kept, in_parts
from silmm.align.team import ALONE, Team
from silmm.errors import InputError
from silmm.kernels.features import distance, pool
from silmm.lmm.interface import LMM, ContinuousImages, DiscreteImages
from silmm.schemas import AlignStats
from silmm.settings import Align

REFERENCE_BLOCK = 128
SPREAD_BLOCK = 8192  # pairs: bounds the memory of their features


class Preferences(NamedTuple):
    """Training pairs, and the policy's own texts that it should still be able to write."""

    prompts: list[str]  # [M]
    chosen: np.ndarray  # tokens [M, L], or features [M, Q, D], or rows of `pooled` [M]
    rejected: np.ndarray  # likewise
    texts: list[tuple[str, str, str]]  # (task, input, output)
    pooled: np.ndarray | None = None  # features [S, ...] of samples, pooled: each is in many pairs of its prompt

    def side(self, numbers: np.ndarray) -> Tensor:
        """Features of some of `chosen` or of `rejected`."""
        return torch.from_numpy(numbers if self.pooled is None else self.pooled[numbers])


class TokenReference(NamedTuple):
    """Sequence log-probs under the policy that the iteration starts from."""

    chosen_M: Tensor
    rejected_M: Tensor


class FeatureReference(NamedTuple):
    """Features of the policy that the iteration starts from, and the loss's inverse temperature."""

    feats: Tensor  # of prompts [U, Q, D], or pooled [U, ...]
    rows_M: Tensor  # each pair's
    gamma: float
    spreads_M: Tensor  # k(chosen, rejected) of each pair


Reference = TokenReference | FeatureReference


def reference_of(
    policy: LMM, data: Preferences, settings: Align, team: Team = ALONE, kept: Kept | None = None
) -> Reference:
    """The policy as it is now, seen through the pairs: the reference of this iteration. Each process of a team makes
    some blocks of it; the blocks are those of one process alone. `kept`: where an interrupted one goes on."""
    if isinstance(policy, ContinuousImages):
        return reference_features(policy, data, settings, team, kept)
    assert isinstance(policy, DiscreteImages)
    return reference_logps(policy, data, settings.rows, team, kept)


@torch.no_grad()
def reference_logps(
    policy: DiscreteImages, data: Preferences, rows: int = 0, team: Team = ALONE, kept: Kept | None = None
) -> TokenReference:
    """Sequence log-probs of both sides, `rows` at a time (0: as many as is usual)."""
    block = rows or REFERENCE_BLOCK
    starts = team.own(range(0, len(data.prompts), block))
    sides = []
    for name, tokens in (("chosen", data.chosen), ("rejected", data.rejected)):

        def logps(i: int, tokens: np.ndarray = tokens) -> Tensor:
            return sequence_logps(policy.token_logps(data.prompts[i : i + block], tokens[i : i + block]))

        blocks = in_parts(starts, logps, f"reference-{name}", team, kept)
        sides.append(torch.cat(team.joined(blocks)))
    return TokenReference(*sides)


@torch.no_grad()
def reference_features(
    policy: ContinuousImages, data: Preferences, settings: Align, team: Team = ALONE, kept: Kept | None = None
) -> FeatureReference:
    """Features of every pair's prompt, or, where samples are pooled, of every prompt once and pooled likewise; gamma
    as given, or from the spread of the pairs.

    Raises InputError when the pairs' features are not this policy's (another shape), or are all the same.
    """
    block = settings.rows or REFERENCE_BLOCK
    if data.pooled is None:
        prompts, rows = data.prompts, list(range(len(data.prompts)))
    else:
        numbers = {prompt: i for i, prompt in enumerate(dict.fromkeys(data.prompts))}
        prompts, rows = list(numbers), [numbers[prompt] for prompt in data.prompts]

    def features(i: int) -> Tensor:
        feats = policy.features(prompts[i : i + block])
        return feats if data.pooled is None else pool(feats, settings.pooling)

    starts = team.own(range(0, len(prompts), block))
    feats = torch.cat(team.joined(in_parts(starts, features, "reference-features", team, kept)))
    drawn = data.chosen if data.pooled is None else data.pooled
    if feats.shape[1:] != drawn.shape[1:]:
        raise InputError(
            f"features of the pairs are {list(drawn.shape[1:])}, of the policy {list(feats.shape[1:])}:"
            " the images were drawn by another model"
        )
    spreads_M = pair_spreads(data, settings)
    if not settings.gamma and not spreads_M.any():
        raise InputError("chosen and rejected features do not differ: draw with DivDrop (images.rate above 0)")
    gamma = settings.gamma or gamma_of_spread(float(spreads_M.mean()), settings.spreads)
    return FeatureReference(feats, torch.tensor(rows), gamma, spreads_M)


def pair_spreads(data: Preferences, settings: Align) -> Tensor:
    """k(Hw, Hl) of each pair, `[M]`."""
    spreads = []
    for i in range(0, len(data.prompts), SPREAD_BLOCK):
        sides = (data.side(numbers[i : i + SPREAD_BLOCK]) for numbers in (data.chosen, data.rejected))
        chosen, rejected = (x if data.pooled is not None else pool(x, settings.pooling) for x in sides)
        spreads.append(distance(chosen, rejected, settings.distance, settings.sigma))
    return torch.cat(spreads)


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
            reference.feats[reference.rows_M[index]],
            data.side(data.chosen[rows]),
            data.side(data.rejected[rows]),
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
