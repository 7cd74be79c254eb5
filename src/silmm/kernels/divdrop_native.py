"""`divdrop` in C++ (csrc/divdrop.cpp) and CUDA (csrc/cuda/divdrop.cu): the same call, by the tensors' device."""

from __future__ import annotations

import torch
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import DTYPES, rows_along_memory
from silmm.kernels.divdrop import Masks, strides_of


def divdrop_fwd(x: Tensor, up: Tensor | None, masks: Masks) -> Tensor:
    """As `divdrop.reference`, without gradients."""
    x, up = rows_along_memory(x), None if up is None else rows_along_memory(up)
    out_PNTF = x.new_empty(*masks.samples_PN.shape, *x.shape[-2:])
    _call("divdrop_fwd", x, up, None, masks, out_PNTF, None)
    return out_PNTF


def divdrop_bwd(x: Tensor, up: Tensor | None, grad_PNTF: Tensor, masks: Masks) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and up, from that of what `divdrop_fwd` returns; masks are made again."""
    x, up = rows_along_memory(x), None if up is None else rows_along_memory(up)
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    grad_up = None if up is None else torch.empty_like(up, memory_format=torch.contiguous_format)
    _call("divdrop_bwd", x, up, rows_along_memory(grad_PNTF), masks, grad_x, grad_up)
    return grad_x, grad_up


def _call(
    name: str, x: Tensor, up: Tensor | None, grad: Tensor | None, masks: Masks, out: Tensor, out_up: Tensor | None
) -> None:
    """`divdrop_call` in csrc/divdrop.h says what is passed."""
    module, _ = _dispatch.extension("_CUDA" if x.is_cuda else "_C")
    sizes = (*masks.samples_PN.shape, *x.shape[-2:], DTYPES[x.dtype], x.dim() == 3, masks.slot, masks.threshold)
    names = [masks.samples_PN, masks.positions_PT, masks.masked_PT]
    names = [None if rows is None else rows_along_memory(rows) for rows in names]
    tensors = (x, up, grad, masks.keys_P.contiguous(), *names, out, out_up)
    strides = [stride for tensor in (x, up, grad) for stride in strides_of(tensor)]
    strides += [0 if rows is None else rows.stride(0) for rows in names]
    addresses = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    if not x.is_cuda:
        return getattr(module, name)(sizes, addresses, strides, _dispatch.isa())
    with torch.cuda.device(x.device):
        getattr(module, name)(sizes, addresses, strides, torch.cuda.current_stream().cuda_stream)
