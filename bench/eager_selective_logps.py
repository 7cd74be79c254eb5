"""`selective_logps` as one would write it in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def eager_selective_logps(hidden: Tensor, weight_VD: Tensor, ids: Tensor) -> Tensor:
    """Log-probs float32 (float64 for float64) of `ids`: a log-softmax over all logits, and a gather."""
    logits = hidden @ weight_VD.t()
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return torch.log_softmax(logits, -1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
