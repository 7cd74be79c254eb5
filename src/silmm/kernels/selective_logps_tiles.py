"""What the implementations of `selective_logps` share: products of matrices tile by tile, around a kernel a row.

A tile holds the logits of some tokens (rows) and some neighbouring columns of the head. A module `kernels` has

    selective_logps_fwd(tile_RC, ids_R, first, stats_RS, write)    takes a tile's columns, from `first` on, into `stats`
    selective_logps_bwd(tile_RC, ids_R, first, stats_RS)           `stats` are final

Both overwrite logits by q = exp(logit - top) / rest (fwd: if `write`, and as far as known with this tile); at the
chosen token stands 0 (fwd) or -1 (bwd).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Of a token, by column of `stats` (LogpsRow in csrc/selective_logps.h): chosen logit; maximum of the other logits; sum
# of exp(logit - top) over them; share of earlier tiles in that sum; 1 - p and log p of the chosen token.
STATS = ("picked", "top", "rest", "scale", "own", "logp")
TOP, REST, SCALE, OWN, LOGP = range(1, 6)
ROWS = 1024  # as many keep a GEMM busy: from there on it is more columns that pay
COLUMNS = 256  # at least, where a sum over columns is rescaled from tile to tile
LEAST_COLUMNS = 64  # at least, where it is not
MULTIPLE = 16  # rows of a tile begin at whole vectors


def forward_tiles(
    hidden_MD: Tensor, weight_VD: Tensor, ids_M: Tensor, kernels: Any, workspace: int, learns: tuple[bool, bool]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Log-probs [M]; stats [M, 6]; if hidden learns, d logps / d hidden [M, D]; if weight learns and one tile holds all
    logits, that tile: q, and -1 at the chosen token."""
    (tokens, width), vocab, item = hidden_MD.shape, len(weight_VD), hidden_MD.element_size()
    rows, cols = forward_tile(tokens, vocab, workspace // item)
    stats = new_stats(hidden_MD)
    slope_MD = hidden_MD.new_empty(tokens, width) if learns[0] else None
    room = new_room(hidden_MD, rows, cols)
    keeps = learns[1] and rows == tokens and cols == vocab
    for r in range(0, tokens, rows):
        x_RD, ids_R, stats_R = hidden_MD[r : r + rows], ids_M[r : r + rows], stats[r : r + rows]
        sum_RD = None if slope_MD is None else running_sum(slope_MD[r : r + rows])
        for first in range(0, vocab, cols):
            w_CD = weight_VD[first : first + cols]
            tile_RC = torch.mm(x_RD, w_CD.t(), out=room[: len(x_RD), : len(w_CD)])
            kernels.selective_logps_fwd(tile_RC, ids_R, first, stats_R, keeps or sum_RD is not None)
            if sum_RD is not None:
                add_product(sum_RD, stats_R[:, SCALE, None], tile_RC, w_CD)
        if slope_MD is not None and sum_RD is not None:
            chosen_RD = weight_VD[ids_R.clamp(0, vocab - 1)]  # an id outside: stats are NaN
            torch.sub(chosen_RD, sum_RD, out=sum_RD)
            torch.mul(sum_RD, stats_R[:, OWN, None], out=slope_MD[r : r + rows])
    kept = room.scatter_(1, ids_M.clamp(0, vocab - 1)[:, None], -1) if keeps and tokens else None
    return stats[:, LOGP].clone(), stats, slope_MD, kept


def weight_gradient(
    grad_M: Tensor, hidden_MD: Tensor, weight_VD: Tensor, ids_M: Tensor, stats: Tensor, kept_MV: Tensor | None,
    kernels: Any, workspace: int,
) -> Tensor:  # fmt: skip
    """Gradient [V, D] of the head: sum over tokens of (1 - p) (onehot - q) grad x, q kept or made again."""
    grad_VD = torch.empty_like(weight_VD, memory_format=torch.contiguous_format)
    x_MD = (hidden_MD * (-grad_M * stats[:, OWN])[:, None]).to(hidden_MD.dtype)
    if kept_MV is not None:
        return torch.mm(kept_MV.t(), x_MD, out=grad_VD)
    if not len(x_MD):
        return grad_VD.zero_()
    rows, cols = backward_tile(len(x_MD), len(weight_VD), workspace // hidden_MD.element_size())
    room = new_room(hidden_MD, rows, cols)
    for first in range(0, len(weight_VD), cols):
        w_CD, out_CD = weight_VD[first : first + cols], grad_VD[first : first + cols]
        for r in range(0, len(x_MD), rows):
            hidden_RD, ids_R = hidden_MD[r : r + rows], ids_M[r : r + rows]
            tile_RC = torch.mm(hidden_RD, w_CD.t(), out=room[: len(hidden_RD), : len(w_CD)])
            kernels.selective_logps_bwd(tile_RC, ids_R, first, stats[r : r + rows])
            # beta = 0 at first: what `out` held is not read
            torch.addmm(out_CD, tile_RC.t(), x_MD[r : r + rows], beta=float(r > 0), out=out_CD)
    return grad_VD


def forward_tile(tokens: int, vocab: int, numbers: int) -> tuple[int, int]:
    """Rows and columns of a tile of that many numbers: whole rows of logits if that makes enough rows for a GEMM."""
    rows = max(numbers // max(vocab, 1), min(tokens, ROWS), 1)
    cols = even(vocab, max(numbers // rows, COLUMNS))
    return even(tokens, min(rows, numbers // cols)), cols


def backward_tile(tokens: int, vocab: int, numbers: int) -> tuple[int, int]:
    """All rows, if they allow for enough columns: then each row of the head's gradient is one sum, rounded once."""
    cols = even(vocab, max(numbers // max(tokens, 1), LEAST_COLUMNS))
    return even(tokens, numbers // cols), cols


def even(total: int, most: int) -> int:
    """Size of equal pieces of `total`: at most `most` (at least 1), a multiple of MULTIPLE where `most` allows it."""
    if most >= total:
        return max(total, 1)
    most = most - most % MULTIPLE if most >= MULTIPLE else max(most, 1)
    size = -(-total // -(-total // most))
    return min(most, size + -size % MULTIPLE)


def new_room(like: Tensor, rows: int, cols: int) -> Tensor:
    """[rows, cols] with each row at a whole vector; not yet written."""
    return like.new_empty(rows, cols + -cols % MULTIPLE)[:, :cols]


def new_stats(hidden_MD: Tensor) -> Tensor:
    """[M, 6] of tokens of which nothing was seen yet."""
    stats = hidden_MD.new_full((len(hidden_MD), len(STATS)), torch.nan, dtype=torch.float32)
    stats[:, TOP], stats[:, REST] = -torch.inf, 0.0
    return stats


def running_sum(slope_RD: Tensor) -> Tensor:
    """Where the weighted rows of the head are summed up, 0 so far: in place for float32, else in float32."""
    return slope_RD.zero_() if slope_RD.dtype == torch.float32 else torch.zeros_like(slope_RD, dtype=torch.float32)


def add_product(sum_RD: Tensor, scale_R1: Tensor, tile_RC: Tensor, w_CD: Tensor) -> None:
    """sum = scale * sum + tile @ w."""
    sum_RD.mul_(scale_R1)
    if sum_RD.dtype == tile_RC.dtype:
        sum_RD.addmm_(tile_RC, w_CD)
    else:
        sum_RD.add_(torch.mm(tile_RC, w_CD, out=tile_RC.new_empty(sum_RD.shape)))
