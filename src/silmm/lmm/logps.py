"""Log-probabilities of chosen tokens, without a second tensor as large as the logits."""

from __future__ import annotations

import torch
from torch import Tensor


def selective_log_softmax(logits_BTV: Tensor, ids_BT: Tensor) -> Tensor:
    """Log-probability (nats) of each chosen token, `[B, T]`: its logit minus the row's log-sum-exp.

    The same as `log_softmax` and a gather, without a second `[B, T, V]` tensor. Half precision is summed in
    float32, where the difference of two large numbers would otherwise lose the answer.
    """
    if logits_BTV.shape[:-1] != ids_BT.shape:
        raise ValueError(f"logits {tuple(logits_BTV.shape)} and ids {tuple(ids_BT.shape)} do not belong together")
    if logits_BTV.dtype in (torch.float16, torch.bfloat16):
        logits_BTV = logits_BTV.float()
    chosen_BT = logits_BTV.gather(-1, ids_BT.unsqueeze(-1)).squeeze(-1)
    return chosen_BT - logits_BTV.logsumexp(-1)
