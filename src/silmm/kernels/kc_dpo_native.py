"""KC-DPO in C++ (csrc/kc_dpo.cpp, on CPU tensors) and CUDA (csrc/cuda/kc_dpo.cu): raw calls on addresses."""

from __future__ import annotations

import torch
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import DTYPES
from silmm.kernels.kc_dpo import FAST_DISTANCES, Objective


def kc_dpo_fwd(sides: list[Tensor], objective: Objective, gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss 0-d, distances [5, B], and gradient [B, N] in the dtype of H (for one of its R rows, if wanted).

    sides: H, Hr, Hw, Hl, each contiguous [B, R, N] with an R of its own, float32, bfloat16 or float16.
    """
    feats = sides[0]
    pairs, _, width = feats.shape
    loss, distances_5B = feats.new_empty((), dtype=torch.float32), feats.new_empty((5, pairs), dtype=torch.float32)
    grad_BN = torch.empty_like(feats[:, 0]) if gradient else None
    gamma, distance, weight = objective.gamma, FAST_DISTANCES.index(objective.distance), objective.sft_weight
    addresses = [x.data_ptr() for x in (*sides, loss, distances_5B)] + [0 if grad_BN is None else grad_BN.data_ptr()]
    module, _ = _dispatch.extension()
    rows, dtypes = [x.shape[1] for x in sides], [DTYPES[x.dtype] for x in sides]
    sigmoid = objective.loss == "sigmoid"
    module.kc_dpo_fwd(pairs, width, rows, dtypes, gamma, weight, sigmoid, distance, addresses, _dispatch.isa())
    return loss, distances_5B, grad_BN
