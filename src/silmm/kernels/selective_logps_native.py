"""The row kernels of `selective_logps` in C++ (csrc/selective_logps.cpp) and CUDA (csrc/cuda/selective_logps.cu)."""

from __future__ import annotations

import torch
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import DTYPES


def selective_logps_fwd(tile_RC: Tensor, ids_R: Tensor, first: int, stats: Tensor, write: bool) -> None:
    """See selective_logps_tiles.py."""
    _call("selective_logps_fwd", tile_RC, ids_R, first, stats, write)


def selective_logps_bwd(tile_RC: Tensor, ids_R: Tensor, first: int, stats: Tensor) -> None:
    """See selective_logps_tiles.py."""
    _call("selective_logps_bwd", tile_RC, ids_R, first, stats)


def _call(name: str, tile_RC: Tensor, ids_R: Tensor, first: int, stats: Tensor, *write: bool) -> None:
    """`logps_tile` in csrc/selective_logps.h says what is passed. ids and stats are contiguous."""
    sizes = (DTYPES[tile_RC.dtype], *tile_RC.shape, tile_RC.stride(0), first)
    addresses = (tile_RC.data_ptr(), ids_R.data_ptr(), stats.data_ptr())
    if not tile_RC.is_cuda:
        module, _ = _dispatch.extension()
        return getattr(module, name)(sizes, addresses, *write, _dispatch.isa())
    module, _ = _dispatch.extension("_CUDA")
    with torch.cuda.device(tile_RC.device):
        getattr(module, name)(sizes, addresses, *write, torch.cuda.current_stream().cuda_stream)
