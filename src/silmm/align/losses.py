"""Step 5's loss mathematics, once, in pure functions on log-probabilities.

Nothing here knows a model: kernels and models give per-token log-probs, these functions give losses. Names and
meaning of `loss`, `beta` and of the metrics are TRL's, so that settings and curves carry over. Shapes ride on the
names: B pairs or sequences, T tokens, V vocabulary.

Direct preference optimisation, Rafailov et al. 2023, eq. 7; the paper's D-DPO, with the paper's beta of 0.2.
The winner anchor is the SFT term of iterative RPO (Pang et al. 2024): without it the likelihood of both sides falls,
and pictures break.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from silmm import settings

# What is done with the logits of a pair [B], beta times its margin (of features: gamma times); None: nothing, the
# winner anchor alone.
LOSSES: dict[str, Callable[[Tensor], Tensor] | None] = {
    "sigmoid": lambda logits_B: -F.logsigmoid(logits_B),
    "sft": None,
}
settings.require_all("align", "loss", LOSSES)


def loss_of(name: str, logits_B: Tensor) -> Tensor:
    """The preference loss [B] of these logits; that of `sigmoid` where the name has none, so that it can be watched.

    Raises ValueError for an unknown name.
    """
    if name not in LOSSES:
        raise ValueError(f"loss is {name!r}: choose one of {', '.join(LOSSES)}")
    return (LOSSES[name] or LOSSES["sigmoid"])(logits_B)  # type: ignore[misc]


def _masked(logps_BT: Tensor, mask_BT: Tensor | None) -> tuple[Tensor, Tensor]:
    """Log-probs with zeros where the mask is off, and the number of tokens of each sequence `[B]`."""
    if mask_BT is None:
        return logps_BT, logps_BT.new_full(logps_BT.shape[:1], logps_BT.shape[1])
    if mask_BT.shape != logps_BT.shape:
        raise ValueError(f"logps {tuple(logps_BT.shape)} and mask {tuple(mask_BT.shape)} do not belong together")
    on_BT = mask_BT.bool()
    # Not a product: a padded position may hold -inf, and -inf * 0 is nan, in the gradient too.
    return logps_BT.masked_fill(~on_BT, 0.0), on_BT.sum(1).to(logps_BT.dtype)


def sequence_logps(logps_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Log-probability of each sequence `[B]`: the SUM over its tokens (mask true, or all without a mask)."""
    return _masked(logps_BT, mask_BT)[0].sum(1)


def sft(logps_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood per token of each sequence, `[B]`: the winner anchor.

    The mean is taken within a sequence first, so every image weighs the same however many tokens it has. (TRL's
    `sft` loss pools the tokens of the batch instead; the two agree where all sequences are equally long, as visual
    tokens are.) A sequence without any token has loss 0.
    """
    kept_BT, tokens_B = _masked(logps_BT, mask_BT)
    return -kept_BT.sum(1) / tokens_B.clamp(min=1)


def dpo(
    policy_chosen_B: Tensor, policy_rejected_B: Tensor, ref_chosen_B: Tensor, ref_rejected_B: Tensor, beta: float
) -> Tensor:
    """Sigmoid DPO losses `[B]` of sequence log-probs: `-log sigmoid(beta * margin)`, with

        margin = (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected).

    One loss a pair: whoever averages, averages these, never the margins (the mean inside the log-sigmoid is another
    objective). `logsigmoid` and not `log(sigmoid)`: finite, with gradient, at any margin. log 2 where policy and
    reference agree.
    """
    return loss_of("sigmoid", beta * margin(policy_chosen_B, policy_rejected_B, ref_chosen_B, ref_rejected_B))


def margin(policy_chosen_B: Tensor, policy_rejected_B: Tensor, ref_chosen_B: Tensor, ref_rejected_B: Tensor) -> Tensor:
    """How much more the policy than the reference prefers the chosen, `[B]`; see `dpo`."""
    return (policy_chosen_B - ref_chosen_B) - (policy_rejected_B - ref_rejected_B)


def reward_metrics(
    policy_chosen_B: Tensor, policy_rejected_B: Tensor, ref_chosen_B: Tensor, ref_rejected_B: Tensor, beta: float
) -> dict[str, Tensor]:
    """What `dpo` compares, under TRL's names, as means over the pairs: a reward is beta * (policy - reference)."""
    reward_chosen_B = beta * (policy_chosen_B - ref_chosen_B)
    reward_rejected_B = beta * (policy_rejected_B - ref_rejected_B)
    return {
        "rewards/chosen": reward_chosen_B.mean(),
        "rewards/rejected": reward_rejected_B.mean(),
        "rewards/margins": (reward_chosen_B - reward_rejected_B).mean(),
        "rewards/accuracies": (reward_chosen_B > reward_rejected_B).to(reward_chosen_B.dtype).mean(),
    }


def preference_loss(
    chosen_BT: Tensor,
    rejected_BT: Tensor,
    ref_chosen_B: Tensor,
    ref_rejected_B: Tensor,
    *,
    loss: str = "sigmoid",
    beta: float = 0.2,
    sft_weight: float = 0.0,
    chosen_mask_BT: Tensor | None = None,
    rejected_mask_BT: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss that step 5 descends, a scalar, and its metrics under TRL's names (detached 0-d tensors).

    `loss="sigmoid"`: mean(dpo) + sft_weight * mean(sft of the chosen). Another preference loss of LOSSES likewise.
    `loss="sft"`: sft_weight * mean(sft of the chosen), the anchor alone at the same weight: the control arm that
    differs from `sigmoid` by nothing but the preference term. Its DPO metrics are still measured, never descended.

    Args:
        chosen_BT, rejected_BT: the policy's per-token log-probs, with gradient.
        ref_chosen_B, ref_rejected_B: the reference's sequence log-probs, cached; a gradient through them is refused,
            as it would mean that the policy itself stands where the reference should.
        beta: DPO temperature.
        sft_weight: weight of the winner anchor.
        chosen_mask_BT, rejected_mask_BT: true at tokens that count; all of them without a mask.

    Raises:
        ValueError: an unknown loss, nothing to learn from, or a reference that carries a gradient.
    """
    if ref_chosen_B.requires_grad or ref_rejected_B.requires_grad:
        raise ValueError("the reference log-probs carry a gradient: compute them under torch.no_grad()")
    policy_chosen_B = sequence_logps(chosen_BT, chosen_mask_BT)
    policy_rejected_B = sequence_logps(rejected_BT, rejected_mask_BT)
    sides = (policy_chosen_B, policy_rejected_B, ref_chosen_B, ref_rejected_B)
    preference = loss_of(loss, beta * margin(*sides)).mean()
    if not LOSSES[loss] and not sft_weight > 0:
        raise ValueError(f"sft_weight is {sft_weight}: must be above 0 with loss {loss!r}, which is nothing else")
    anchor = sft(chosen_BT, chosen_mask_BT).mean()
    total = sft_weight * anchor + (preference if LOSSES[loss] else 0.0)

    with torch.no_grad():
        metrics = {
            "loss": total.detach(),
            "dpo_loss": preference.detach(),
            "nll_loss": anchor.detach(),
            **reward_metrics(*sides, beta),
            "logps/chosen": policy_chosen_B.mean(),
            "logps/rejected": policy_rejected_B.mean(),
        }
    return total, metrics
