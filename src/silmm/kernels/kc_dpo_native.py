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
    on_gpu = feats.device.type == "cuda"
    sides = _alike(sides) if on_gpu else sides
    loss, distances_5B = feats.new_empty((), dtype=torch.float32), feats.new_empty((5, pairs), dtype=torch.float32)
    grad_BN = torch.empty_like(feats[:, 0]) if gradient else None
    addresses = [x.data_ptr() for x in (*sides, loss, distances_5B)] + [0 if grad_BN is None else grad_BN.data_ptr()]
    rows, dtypes = [x.shape[1] for x in sides], [DTYPES[x.dtype] for x in sides]
    distance, sigmoid = FAST_DISTANCES.index(objective.distance), objective.loss == "sigmoid"
    arguments = (pairs, width, rows, dtypes, objective.gamma, objective.sft_weight, sigmoid, distance)
    if not on_gpu:
        module, _ = _dispatch.extension()
        module.kc_dpo_fwd(*arguments, addresses, _dispatch.isa())
        return loss, distances_5B, grad_BN
    module, _ = _dispatch.extension("_CUDA")
    workspace = feats.new_empty(module.kc_dpo_workspace(pairs, width, rows), dtype=torch.uint8)
    counters = feats.new_zeros(pairs + 1, dtype=torch.int32)
    with torch.cuda.device(feats.device):
        stream = torch.cuda.current_stream().cuda_stream
        module.kc_dpo_fwd(*arguments, [*addresses, workspace.data_ptr(), counters.data_ptr()], stream)
    return loss, distances_5B, grad_BN


def kc_dpo_scale(grad: Tensor, scale: Tensor) -> None:
    """grad (contiguous, on a GPU) *= scale (float32, 0-d, beside it); where that is 1, the kernel looks and is done."""
    module, _ = _dispatch.extension("_CUDA")
    with torch.cuda.device(grad.device):
        stream = torch.cuda.current_stream().cuda_stream
        module.kc_dpo_scale(grad.data_ptr(), DTYPES[grad.dtype], grad.numel(), scale.data_ptr(), stream)


def _alike(sides: list[Tensor]) -> list[Tensor]:
    """The fixed features in the dtype of H, if they are, or else in float32: the CUDA kernels take these two."""
    if len({x.dtype for x in sides}) == 1:
        return sides
    return [sides[0], *(x.float() for x in sides[1:])]
