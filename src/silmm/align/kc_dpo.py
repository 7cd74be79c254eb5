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

from torch import Tensor

from silmm.align.losses import dpo, loss_of, reward_metrics
from silmm.kernels import kc_dpo as kernel
from silmm.kernels.arguments import check_finite
from silmm.kernels.kc_dpo import LOSSES as FUSED
from silmm.kernels.kc_dpo import distances_of

SATURATED = 3.0  # a sigmoid's argument from which on a pair's gradient is below 5 % of its largest


def gamma_of_spread(spread: float, spreads: float = 3.0) -> float:
    """A gamma for the spread mean k(Hw, Hl) of the pairs: `spreads` / spread, so that the sigmoid is at work whatever k
    is.

    A rule of ours: 3 was measured on a small continuous model (cosine, spread 0.19, so gamma 15.6). The paper gives
    one number, 6 on DreamLLM, where the spread is not known.
    """
    if not (math.isfinite(spread) and spread > 0):
        raise ValueError(f"spread: expected a finite number above 0, given {spread}")
    return spreads / spread


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
    Another name of `silmm.align.losses.LOSSES`: mean(that loss of gamma * margin) + the anchor, in plain torch.

    Args:
        feats_BLD: the policy's features, with gradient, one row a pair: a prompt's row is repeated for its pairs.
        ref_feats, chosen_feats, rejected_feats: Hr, Hw, Hl, [B, L, D] or what pooling gives; a gradient through them is
            refused, as it would mean that the policy itself stands where fixed features should.
        gamma: inverse temperature, > 0; see `gamma_of_spread`.
        pooling, distance, sigma: as `silmm.kernels.features` says.

    Metrics: loss; dpo_loss; rewards/{chosen,rejected,margins,accuracies}, a reward being gamma (k(Hr, .) - k(H, .));
    rewards/saturated, the share of pairs whose margin is above SATURATED, so that they hardly teach any more;
    distance/chosen and distance/rejected, k(H, .); and drift, k(H, Hr).

    Raises:
        ValueError: a wrong argument, by name; features that are not finite, or that carry a gradient and should not.
    """
    features = (feats_BLD, ref_feats, chosen_feats, rejected_feats)
    if loss in FUSED:
        total, d = kernel(
            *features, gamma=gamma, pooling=pooling, distance=distance, sigma=sigma, loss=loss, sft_weight=sft_weight
        )
    else:
        own = distances_of(*features, pooling=pooling, distance=distance, sigma=sigma)
        total = loss_of(loss, gamma * own.margins_B).mean() + sft_weight * own.chosen_B.mean()
        d = own.detach()
    sides = {"feats": feats_BLD, "ref_feats": ref_feats, "chosen_feats": chosen_feats, "rejected_feats": rejected_feats}
    for name, tensor in sides.items():
        check_finite(name, tensor.detach())
    # DPO as it is for tokens: a log-probability is -k.
    logps = (-d.chosen_B, -d.rejected_B, -d.ref_chosen_B, -d.ref_rejected_B)
    metrics = {
        "loss": total.detach(),
        "dpo_loss": dpo(*logps, gamma).mean(),
        **reward_metrics(*logps, gamma),
        "rewards/saturated": (gamma * d.margins_B > SATURATED).to(total.dtype).mean(),
        "distance/chosen": d.chosen_B.mean(),
        "distance/rejected": d.rejected_B.mean(),
        "drift": d.drift_B.mean(),
    }
    return total, metrics
