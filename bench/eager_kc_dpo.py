"""KC-DPO as the paper's formula is usually written in torch: what the kernels are timed against.

Tests hold it to the same loss as `silmm.kernels.kc_dpo`. It has no care for equal or zero vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def eager(
    feats_BLD: Tensor,
    ref_BLD: Tensor,
    chosen_BLD: Tensor,
    rejected_BLD: Tensor,
    gamma: float,
    pooling: str,
    distance: str,
) -> Tensor:
    """The loss; pooling `avg` or `none`, distance `cosine`, `euclidean` or `squared_euclidean`."""
    sides = (feats_BLD, ref_BLD, chosen_BLD, rejected_BLD)
    h, ref, chosen, rejected = (x.mean(1) if pooling == "avg" else x.flatten(1) for x in sides)

    def k(a: Tensor, b: Tensor) -> Tensor:
        if distance == "cosine":
            return 1 - F.cosine_similarity(a, b)
        norm_B = torch.linalg.vector_norm(a - b, dim=1)
        return norm_B if distance == "euclidean" else norm_B.square()

    margin_B = (k(ref, chosen) - k(h, chosen)) - (k(ref, rejected) - k(h, rejected))
    return -F.logsigmoid(gamma * margin_B).mean()
