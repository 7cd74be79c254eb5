"""The row kernel of `selective_logps` in Triton. See selective_logps_tiles.py for what it computes."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from silmm.kernels import _dispatch

STATS = tl.constexpr(6)  # numbers a token, as in selective_logps_tiles.STATS


@triton.jit
def _safe(top):  # type: ignore[no-untyped-def]
    """0 where nothing was seen yet: then exp(-inf - safe) is 0, and not NaN."""
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
def _merge(stats, picked, top_here, rest_here):  # type: ignore[no-untyped-def]
    """`merge` of csrc/selective_logps.h, in float64; returns top and rest."""
    old_top, old_rest = tl.load(stats + 1).to(tl.float64), tl.load(stats + 2).to(tl.float64)
    picked, top_here, rest_here = picked.to(tl.float64), top_here.to(tl.float64), rest_here.to(tl.float64)
    top = tl.where(old_top > top_here, old_top, top_here)
    before = old_rest * tl.exp(old_top - _safe(top))
    rest = before + rest_here * tl.exp(top_here - _safe(top))
    big = tl.where(picked > top, picked, top)
    others, chosen = rest * tl.exp(top - big), tl.exp(picked - big)
    # log(1 + others) without losing what is lost in 1 + others (Kahan); NaN takes the second branch
    one_more = 1.0 + others
    log1p = tl.where(
        one_more == 1.0, others, tl.log(one_more) * (others / tl.where(one_more == 1.0, 1.0, one_more - 1.0))
    )
    logp = (picked - big) - tl.where(picked >= top, log1p, tl.log(others + chosen))
    scale = tl.where(rest == 0.0, 0.0, before / tl.where(rest == 0.0, 1.0, rest))
    tl.store(stats, picked.to(tl.float32))
    tl.store(stats + 1, top.to(tl.float32))
    tl.store(stats + 2, rest.to(tl.float32))
    tl.store(stats + 3, scale.to(tl.float32))
    tl.store(stats + 4, (others / (others + chosen)).to(tl.float32))
    tl.store(stats + 5, logp.to(tl.float32))
    return top.to(tl.float32), rest.to(tl.float32)


@triton.jit
def _selective_logps_rows_kernel(  # type: ignore[no-untyped-def]
    logits, ids, stats, first, cols, stride, MEASURE: tl.constexpr, WRITE: tl.constexpr, BLOCK: tl.constexpr
):
    """One row of a tile. MEASURE: take it into stats, write 0 at the chosen token; else stats are final, write -1."""
    row = tl.program_id(0).to(tl.int64)
    x_row, stats_row = logits + row * stride, stats + row * STATS
    at, lane = tl.load(ids + row) - first, tl.arange(0, BLOCK)
    if MEASURE:
        here = (at >= 0) & (at < cols)
        seen = tl.load(x_row + tl.where(here, at, 0)).to(tl.float32)
        picked = tl.where(here, seen, tl.load(stats_row))
        tops = tl.full([BLOCK], float("-inf"), tl.float32)
        sums = tl.zeros([BLOCK], tl.float32)
        for start in range(0, cols, BLOCK):
            col = start + lane
            x = tl.load(x_row + col, mask=col < cols, other=float("-inf")).to(tl.float32)
            x = tl.where(col == at, float("-inf"), x)  # not in the mask, which would split the loads
            higher = tl.where(x > tops, x, tops)
            sums = sums * tl.exp(tops - _safe(higher)) + tl.exp(x - _safe(higher))
            tops = higher
        top_here = tl.max(tops, 0)
        rest_here = tl.sum(sums * tl.exp(tops - _safe(top_here)), 0)
        top, rest = _merge(stats_row, picked, top_here, rest_here)
    else:
        top, rest = tl.load(stats_row + 1), tl.load(stats_row + 2)
    if WRITE:
        inverse = tl.where(rest == 0.0, 0.0, 1.0 / tl.where(rest == 0.0, 1.0, rest))
        for start in range(0, cols, BLOCK):
            col = start + lane
            x = tl.load(x_row + col, mask=col < cols, other=float("-inf")).to(tl.float32)
            q = tl.exp(tl.where(col == at, float("-inf"), x) - _safe(top)) * inverse
            q = tl.where(col == at, 0.0 if MEASURE else -1.0, q)
            tl.store(x_row + col, q.to(logits.dtype.element_ty), mask=col < cols)


def selective_logps_fwd(tile_RC: Tensor, ids_R: Tensor, first: int, stats: Tensor, write: bool) -> None:
    """See selective_logps_tiles.py."""
    _launch(tile_RC, ids_R, first, stats, True, write)


def selective_logps_bwd(tile_RC: Tensor, ids_R: Tensor, first: int, stats: Tensor) -> None:
    """See selective_logps_tiles.py."""
    _launch(tile_RC, ids_R, first, stats, False, True)


def _launch(tile_RC: Tensor, ids_R: Tensor, first: int, stats: Tensor, measure: bool, write: bool) -> None:
    rows, cols = tile_RC.shape
    if not rows or not cols:
        return
    block, warps = block_size(cols)
    args = (tile_RC, ids_R, stats, first, cols, tile_RC.stride(0), measure, write, block)
    if not tile_RC.is_cuda:  # the interpreter
        _selective_logps_rows_kernel[(rows,)](*args, num_warps=warps, enable_fp_fusion=False)
        return
    with torch.cuda.device(tile_RC.device):
        _selective_logps_rows_kernel[(rows,)](*args, num_warps=warps, enable_fp_fusion=False)


def block_size(cols: int) -> tuple[int, int]:
    """Columns that a program takes at a time, and its warps; in the interpreter each step costs, so steps are long."""
    block = min(triton.next_power_of_2(cols), 65536 if _dispatch.interpreted() else 4096)
    return max(block, 128), 8 if block > 1024 else 4


TYPES = {"ids": "*i64", "stats": "*fp32", "first": "i32", "cols": "i32", "stride": "i32"}
CONSTANTS = ("MEASURE", "WRITE", "BLOCK")
AOT = tuple(
    (
        _selective_logps_rows_kernel,
        {"logits": f"*{element}", **TYPES, **dict.fromkeys(CONSTANTS, "constexpr")},
        dict(zip(CONSTANTS, (measure, write, 4096), strict=True)),
    )
    for element in ("fp32", "bf16", "fp16")
    for measure, write in ((True, False), (True, True), (False, True))
)
