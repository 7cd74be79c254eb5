"""Log-probabilities of given tokens, from hidden states and the output head, without logits of all tokens at once.

    logps_t = x_t . w_y - log sum_v exp(x_t . w_v)        y = ids_t, w_v the rows of the head
    d logps_t / d x_t = (1 - p_y) (w_y - sum_{v != y} q_v w_v),   q = softmax over all tokens but y

Products of matrices are the library's, into a workspace that holds the logits of some tokens and some neighbouring
columns; one kernel a row updates maximum and sum as in online softmax (Milakov and Gimelshein, arXiv 1805.02867) and
turns the logits into weights in place; the sums of weighted rows are rescaled from tile to tile as in FlashAttention
(Dao et al., arXiv 2205.14135). With the chosen token left out of the sums neither 1 - p nor the log-probability of a
token that is almost certain is a difference of near-equal numbers.

Cost, in products as large as all logits: forward 1; gradient of the hidden states 1 more, made in the forward pass up
to a factor a token, so that the backward pass is a multiplication; gradient of the head 1 more where all logits fit
into the workspace (their weights are kept), else 2 (they are made again).

Implementations agree to rounding. The row kernel's result depends on its row alone; a GEMM library may round a row
differently among other numbers of rows or columns, and so may the sums from tile to tile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import DTYPES, describe

WORKSPACE = {"cpu": 8 << 20, "cuda": 512 << 20}  # bytes


def selective_logps(
    hidden: Tensor, weight_VD: Tensor, ids: Tensor, *, workspace: int | None = None, impl: str = "auto"
) -> Tensor:
    """Log-probability (nats) of each token of `ids` under softmax(hidden @ weight^T); differentiable, once.

    Args:
        hidden: [..., D], any strides; float32, bfloat16, float16, or float64 (reference only).
        weight_VD: the output head [V, D], of the same dtype, D along memory; a slice of rows will do.
        ids: int64 [...], in [0, V). On a GPU, where looking would be waiting, an id outside gives NaN.
        workspace: bytes of logits that may live at a time; by default 8 MiB on the CPU and 512 MiB on a GPU. As few as
            one row of 256 columns are used where it is less. The reference holds all logits, several times.
        impl: `reference`, `cpp`, `triton`, `cuda`, or `auto`: the best that is there for the device.

    Returns:
        float32 [...] (float64 for float64). NaN and +inf among the logits of a token make its log-probability NaN.

    Beyond workspace and gradients there live: hidden states once more, where they have a gradient (for 16 bits in
    float32, too, for the rows of a tile). The head's gradient is rounded once to its dtype, without a buffer in float32
    (as long as 64 columns of all tokens fit into the workspace; else once a block of rows).

    Raises:
        ValueError: a wrong argument, by name; for CPU tensors also an id outside.
        RuntimeError: `impl` is not available here; or a gradient of the gradient is asked for.
    """
    _check(hidden, weight_VD, ids, workspace)
    limit = "float64" if hidden.dtype == torch.float64 else ""
    chosen = _dispatch.choose("selective_logps", impl, hidden.device, limit)
    if chosen == "reference":
        return reference(hidden, weight_VD, ids)
    room = WORKSPACE.get(hidden.device.type, WORKSPACE["cuda"]) if workspace is None else workspace
    learns = tuple(torch.is_grad_enabled() and x.requires_grad for x in (hidden, weight_VD))
    hidden_MD = hidden.reshape(ids.numel(), weight_VD.shape[1])
    logps_M = SelectiveLogpsFunction.apply(hidden_MD, weight_VD, ids.reshape(-1), chosen, room, learns)
    return logps_M.view(ids.shape)


def reference(hidden: Tensor, weight_VD: Tensor, ids: Tensor) -> Tensor:
    """The definition, in plain torch, on any device, with gradients. Arguments are taken as checked."""
    logits = hidden @ weight_VD.t()
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    inside = (ids >= 0) & (ids < len(weight_VD))
    picked = logits.gather(-1, torch.where(inside, ids, 0).unsqueeze(-1)).squeeze(-1)
    return (picked - logits.logsumexp(-1)) * torch.where(inside, 1.0, torch.nan).to(logits.dtype)


class SelectiveLogpsFunction(torch.autograd.Function):
    """hidden [M, D], weight [V, D], ids [M], name of the implementation, bytes of workspace, which of both learn."""

    @staticmethod
    def forward(
        ctx: Any, hidden_MD: Tensor, weight_VD: Tensor, ids_M: Tensor, impl: str, workspace: int,
        learns: tuple[bool, bool],
    ) -> Tensor:  # fmt: skip
        from silmm.kernels.selective_logps_tiles import forward_tiles

        rows = row_kernels(impl)
        logps_M, stats, slope_MD, kept = forward_tiles(hidden_MD, weight_VD, ids_M, rows, workspace, learns)
        saved = (hidden_MD, weight_VD, ids_M, stats, kept) if learns[1] else (None,) * 5
        ctx.save_for_backward(slope_MD, *saved)
        ctx.impl, ctx.workspace = impl, workspace
        return logps_M

    @staticmethod
    def backward(ctx: Any, grad_M: Tensor) -> tuple[Tensor | None, ...]:
        from silmm.kernels.selective_logps_tiles import weight_gradient

        if torch.is_grad_enabled():  # create_graph: torch's own check misses an upstream gradient that is a constant
            raise RuntimeError(f"selective_logps: impl {ctx.impl!r} is differentiable once; 'reference' is more often")
        slope_MD, hidden_MD, weight_VD, ids_M, stats, kept_MV = ctx.saved_tensors
        grad_MD, grad_VD = None, None
        if ctx.needs_input_grad[0]:
            grad_MD = torch.mul(slope_MD, grad_M[:, None]).to(slope_MD.dtype)
        if ctx.needs_input_grad[1]:
            rows = row_kernels(ctx.impl)
            grad_VD = weight_gradient(grad_M, hidden_MD, weight_VD, ids_M, stats, kept_MV, rows, ctx.workspace)
        return grad_MD, grad_VD, None, None, None, None


def row_kernels(impl: str) -> Any:
    """The module with an implementation's `selective_logps_fwd` and `selective_logps_bwd`."""
    if impl == "triton":
        from silmm.kernels import selective_logps_triton

        return selective_logps_triton
    from silmm.kernels import selective_logps_native

    return selective_logps_native


def _check(hidden: Tensor, weight_VD: Tensor, ids: Tensor, workspace: int | None) -> None:
    """Raise ValueError naming the argument, what is expected and what was given."""
    if hidden.dtype not in (*DTYPES, torch.float64) or hidden.dim() == 0:
        raise ValueError(f"hidden: expected float32, bfloat16, float16 or float64 [..., D], given {describe(hidden)}")
    width = hidden.shape[-1]
    if weight_VD.dim() != 2 or weight_VD.shape[1] != width or weight_VD.dtype != hidden.dtype:
        wanted = f"{str(hidden.dtype).removeprefix('torch.')} [V, {width}]"
        raise ValueError(f"weight: expected {wanted} like hidden, given {describe(weight_VD)}")
    if weight_VD.stride(1) != 1 and width > 1:
        raise ValueError(f"weight: expected its last dimension along memory, given strides {weight_VD.stride()}")
    if ids.dtype != torch.int64 or ids.shape != hidden.shape[:-1]:
        raise ValueError(f"ids: expected int64 {list(hidden.shape[:-1])}, given {describe(ids)}")
    for name, tensor in (("weight", weight_VD), ("ids", ids)):
        if tensor.device != hidden.device:
            raise ValueError(f"{name}: expected on {hidden.device} like hidden, given on {tensor.device}")
    if ids.numel() and not len(weight_VD):
        raise ValueError(f"weight: expected at least one row, given {describe(weight_VD)}")
    if workspace is not None and workspace < 1:
        raise ValueError(f"workspace: expected a number of bytes above 0, given {workspace}")
    if ids.device.type == "cpu" and ids.numel():
        low, high = ids.min(), ids.max()
        if low < 0 or high >= len(weight_VD):
            raise ValueError(f"ids: expected in [0, {len(weight_VD)}), given {int(low if low < 0 else high)}")
