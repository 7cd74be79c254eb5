"""KC-DPO in Triton: sums over blocks of columns, then loss terms and gradient; raw calls. `kc_dpo` has the formulas.

No program waits for another, so that the interpreter, which runs them one by one, can run them all.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.features import EPS
from silmm.kernels.kc_dpo import FAST_DISTANCES, Objective

SUMS = 16  # of a block: 5 squares, 5 excesses, 4 norms (see csrc/kc_dpo_pair.h), and 2 places to make a power of two
SHORT = tl.constexpr(EPS)


def block_sizes(rows: int, width: int) -> tuple[int, int]:
    """Rows and columns of a tile."""
    if _dispatch.interpreted():
        return triton.next_power_of_2(min(rows, 64)), triton.next_power_of_2(min(width, 4096))
    return (1, 2048) if rows == 1 else (16, 128)


def kc_dpo_fwd(sides: list[Tensor], objective: Objective, gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Loss 0-d, distances [5, B], and gradient [B, N] in the dtype of H (for one of its R rows, if wanted).

    sides: H, Hr, Hw, Hl, each contiguous [B, R, N] with an R of its own, float32, bfloat16 or float16.
    """
    feats = sides[0]
    pairs, _, width = feats.shape
    rows = [x.shape[1] for x in sides]
    block_r, block_n = block_sizes(max(rows), width)
    blocks = triton.cdiv(width, block_n)
    tiles = min(8, triton.cdiv(blocks, 16))  # of a program of the second kernel, which reads the sums of all blocks
    sums = feats.new_empty((pairs, SUMS, blocks), dtype=torch.float32)
    pooled = max(rows) > 1 and gradient
    means_3BN = feats.new_empty((3, pairs, width) if pooled else 1, dtype=torch.float32)  # of H, Hw, Hl
    distances_5B, terms_B = (feats.new_empty(shape, dtype=torch.float32) for shape in ((5, pairs), (pairs,)))
    # The interpreter cuts bfloat16 off where a GPU rounds.
    dtype = torch.float32 if _dispatch.interpreted() else feats.dtype
    grad_BN = torch.empty_like(feats[:, 0], dtype=dtype) if gradient else None
    distance = FAST_DISTANCES.index(objective.distance)
    _kc_dpo_sums_kernel[(pairs * blocks,)](
        *sides, sums, means_3BN, pairs, width, blocks, *rows,
        COSINE=distance == 0, POOLED=pooled, BLOCK_R=block_r, BLOCK_N=block_n, num_warps=4, enable_fp_fusion=False,
    )  # fmt: skip
    h, _, w, l = (means_3BN[0], None, means_3BN[1], means_3BN[2]) if pooled else sides  # noqa: E741
    _kc_dpo_grad_kernel[(pairs * triton.cdiv(blocks, tiles) if gradient else pairs,)](
        h, w, l, sums, distances_5B, terms_B, terms_B if grad_BN is None else grad_BN, pairs, width, blocks, rows[0],
        objective.gamma, objective.sft_weight,
        DISTANCE=distance, SIGMOID=objective.loss == "sigmoid", GRAD=gradient,
        BLOCK_N=block_n, BLOCKS=triton.next_power_of_2(blocks), TILES=tiles, num_warps=4, enable_fp_fusion=False,
    )  # fmt: skip
    return terms_B.mean(), distances_5B, None if grad_BN is None else grad_BN.to(feats.dtype)


def kc_dpo_scale(grad: Tensor, scale: Tensor) -> None:
    """grad (contiguous) *= scale (0-d, on the same device); where that is 1, the kernel looks at it and is done."""
    block = 1 << 16 if _dispatch.interpreted() else 4096
    _kc_dpo_scale_kernel[(triton.cdiv(grad.numel(), block),)](grad, scale, grad.numel(), BLOCK=block, num_warps=8)


@triton.jit
def _mean(x_ptr, pair, column, rows, width, BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr):
    """Mean over the rows of x [pairs, rows, width] at these columns, float32 [BLOCK_N]; 0 from `width` on."""
    at = x_ptr + pair.to(tl.int64) * rows * width
    if BLOCK_R == 1:
        return tl.load(at + column, mask=column < width, other=0.0).to(tl.float32)
    row = tl.arange(0, BLOCK_R)
    total = tl.zeros([BLOCK_R, BLOCK_N], tl.float32)
    for start in range(0, rows, BLOCK_R):
        inside = (start + row < rows)[:, None] & (column < width)[None, :]
        offset = (start + row).to(tl.int64)[:, None] * width + column[None, :]
        total += tl.load(at + offset, mask=inside, other=0.0).to(tl.float32)
    return tl.sum(total, 0) / tl.full((), rows, tl.float32)


@triton.jit
def _kc_dpo_sums_kernel(
    h_ptr, r_ptr, w_ptr, l_ptr, sums_ptr, means_ptr, pairs, width, blocks, h_rows, r_rows, w_rows, l_rows,
    COSINE: tl.constexpr, POOLED: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """sums[pair, :, block], and the means of H, Hw, Hl where they are needed again."""
    pair, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    column = block * BLOCK_N + tl.arange(0, BLOCK_N)
    h = _mean(h_ptr, pair, column, h_rows, width, BLOCK_R, BLOCK_N)
    r = _mean(r_ptr, pair, column, r_rows, width, BLOCK_R, BLOCK_N)
    w = _mean(w_ptr, pair, column, w_rows, width, BLOCK_R, BLOCK_N)
    l = _mean(l_ptr, pair, column, l_rows, width, BLOCK_R, BLOCK_N)  # noqa: E741
    out = sums_ptr + pair.to(tl.int64) * 16 * blocks + block
    tl.store(out, tl.sum((h - w) * (h - w), 0))
    tl.store(out + blocks, tl.sum((h - l) * (h - l), 0))
    tl.store(out + 2 * blocks, tl.sum((r - w) * (r - w), 0))
    tl.store(out + 3 * blocks, tl.sum((r - l) * (r - l), 0))
    tl.store(out + 4 * blocks, tl.sum((h - r) * (h - r), 0))
    if COSINE:
        tl.store(out + 5 * blocks, tl.sum((h - w) * (h + w), 0))
        tl.store(out + 6 * blocks, tl.sum((h - l) * (h + l), 0))
        tl.store(out + 7 * blocks, tl.sum((r - w) * (r + w), 0))
        tl.store(out + 8 * blocks, tl.sum((r - l) * (r + l), 0))
        tl.store(out + 9 * blocks, tl.sum((h - r) * (h + r), 0))
        tl.store(out + 10 * blocks, tl.sum(h * h, 0))
        tl.store(out + 11 * blocks, tl.sum(r * r, 0))
        tl.store(out + 12 * blocks, tl.sum(w * w, 0))
        tl.store(out + 13 * blocks, tl.sum(l * l, 0))
    if POOLED:
        to = means_ptr + pair.to(tl.int64) * width + column
        size = tl.full((), pairs, tl.int64) * width
        tl.store(to, h, mask=column < width)
        tl.store(to + size, w, mask=column < width)
        tl.store(to + 2 * size, l, mask=column < width)


@triton.jit
def _total(sums_ptr, pair, index: tl.constexpr, blocks, BLOCKS: tl.constexpr):
    """One sum of a pair over its blocks, float64."""
    block = tl.arange(0, BLOCKS)
    at = sums_ptr + (pair.to(tl.int64) * 16 + index) * blocks + block
    return tl.sum(tl.load(at, mask=block < blocks, other=0.0).to(tl.float64), 0)


@triton.jit
def _slope(square, excess, norm_a, norm_b, DISTANCE: tl.constexpr):
    """Distance, own, away: as `slope` of csrc/kc_dpo_pair.h."""
    zero = square * 0.0
    d, own, away = square, zero, zero + 2.0
    if DISTANCE == 1:
        d = tl.sqrt(square)
        away = tl.where(d == 0.0, 0.0, 1.0 / tl.where(d == 0.0, 1.0, d))
    if DISTANCE == 0:
        a, b = tl.sqrt(norm_a), tl.sqrt(norm_b)
        short_a, short_b = a <= SHORT, b <= SHORT
        short = short_a | short_b
        a, b = tl.where(short, 1.0, a), tl.where(short, 1.0, b)
        longer = excess / (a + b)
        d = (square - longer * longer) / (2.0 * a * b)
        d = tl.where(d < 0.0, 0.0, d)
        own = tl.where(short, 0.0, -(longer + b * d) / (a * a * b))
        away = tl.where(short, 0.0, 1.0 / (a * b))
        d = tl.where(short, tl.where(short_a & short_b, 0.0, 0.5) + zero, d)
    return d, own, away


@triton.jit
def _kc_dpo_grad_kernel(
    h_ptr, w_ptr, l_ptr, sums_ptr, distances_ptr, terms_ptr, grad_ptr, pairs, width, blocks, rows, gamma, sft_weight,
    DISTANCE: tl.constexpr, SIGMOID: tl.constexpr, GRAD: tl.constexpr, BLOCK_N: tl.constexpr, BLOCKS: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    """A pair's distances and loss term, by its first program; TILES blocks of the gradient, by every one."""
    pair, first = tl.program_id(0), 0
    if GRAD:
        programs = (blocks + TILES - 1) // TILES
        pair, first = tl.program_id(0) // programs, tl.program_id(0) % programs
    # not .to(): an argument that is 1 arrives as a constant, and the interpreter passes Python's numbers
    gamma, sft_weight = tl.full((), gamma, tl.float64), tl.full((), sft_weight, tl.float64)
    hh, rr, ww, ll = 1.0, 1.0, 1.0, 1.0
    m0, m1, m2, m3, m4 = 0.0, 0.0, 0.0, 0.0, 0.0
    if DISTANCE == 0:
        m0 = _total(sums_ptr, pair, 5, blocks, BLOCKS)
        m1 = _total(sums_ptr, pair, 6, blocks, BLOCKS)
        m2 = _total(sums_ptr, pair, 7, blocks, BLOCKS)
        m3 = _total(sums_ptr, pair, 8, blocks, BLOCKS)
        m4 = _total(sums_ptr, pair, 9, blocks, BLOCKS)
        hh = _total(sums_ptr, pair, 10, blocks, BLOCKS)
        rr = _total(sums_ptr, pair, 11, blocks, BLOCKS)
        ww = _total(sums_ptr, pair, 12, blocks, BLOCKS)
        ll = _total(sums_ptr, pair, 13, blocks, BLOCKS)
    d0, own0, away0 = _slope(_total(sums_ptr, pair, 0, blocks, BLOCKS), m0, hh, ww, DISTANCE)
    d1, own1, away1 = _slope(_total(sums_ptr, pair, 1, blocks, BLOCKS), m1, hh, ll, DISTANCE)
    d2, _, _ = _slope(_total(sums_ptr, pair, 2, blocks, BLOCKS), m2, rr, ww, DISTANCE)
    d3, _, _ = _slope(_total(sums_ptr, pair, 3, blocks, BLOCKS), m3, rr, ll, DISTANCE)
    d4, _, _ = _slope(_total(sums_ptr, pair, 4, blocks, BLOCKS), m4, hh, rr, DISTANCE)
    term = sft_weight * d0
    chosen, rejected = sft_weight, sft_weight * 0.0
    if SIGMOID:
        z = gamma * ((d2 - d0) - (d3 - d1))
        small = tl.exp(-tl.abs(z))  # in [0, 1]
        term += tl.where(z < 0.0, -z, 0.0) + tl.log(1.0 + small)
        missing = gamma * tl.where(z < 0.0, 1.0, small) / (1.0 + small)
        chosen, rejected = sft_weight + missing, -missing
    if first == 0:
        tl.store(distances_ptr + pair, d0.to(tl.float32))
        tl.store(distances_ptr + pairs + pair, d1.to(tl.float32))
        tl.store(distances_ptr + 2 * pairs + pair, d2.to(tl.float32))
        tl.store(distances_ptr + 3 * pairs + pair, d3.to(tl.float32))
        tl.store(distances_ptr + 4 * pairs + pair, d4.to(tl.float32))
        tl.store(terms_ptr + pair, term.to(tl.float32))
    if GRAD:
        scale = 1.0 / (tl.full((), pairs, tl.float64) * tl.full((), rows, tl.float64))
        own = ((chosen * own0 + rejected * own1) * scale).to(tl.float32)
        from_chosen = (chosen * away0 * scale).to(tl.float32)
        from_rejected = (rejected * away1 * scale).to(tl.float32)
        for tile in range(TILES):
            column = (first * TILES + tile) * BLOCK_N + tl.arange(0, BLOCK_N)
            at, inside = pair.to(tl.int64) * width + column, column < width
            h = tl.load(h_ptr + at, mask=inside, other=0.0).to(tl.float32)
            w = tl.load(w_ptr + at, mask=inside, other=0.0).to(tl.float32)
            l = tl.load(l_ptr + at, mask=inside, other=0.0).to(tl.float32)  # noqa: E741
            grad = own * h + (from_chosen * (h - w) + from_rejected * (h - l))
            tl.store(grad_ptr + at, grad.to(grad_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _kc_dpo_scale_kernel(grad_ptr, scale_ptr, size, BLOCK: tl.constexpr):
    scale = tl.load(scale_ptr).to(tl.float32)
    if scale != 1.0:
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        grad = tl.load(grad_ptr + at, mask=at < size, other=0.0).to(tl.float32) * scale
        tl.store(grad_ptr + at, grad.to(grad_ptr.dtype.element_ty), mask=at < size)


def _aot(kernel: triton.JITFunction, types: str, **constants: int) -> tuple[triton.JITFunction, dict, dict]:
    """`types` of the arguments in their order; the constants come last."""
    return (
        kernel,
        dict(zip(kernel.arg_names, [*types.split(), *["constexpr"] * len(constants)], strict=True)),
        constants,
    )


# What is compiled ahead of time where there is no GPU: kernel, signature, constants.
AOT = tuple(
    entry
    for x in ("bf16", "fp32")
    for entry in (
        _aot(
            _kc_dpo_sums_kernel, f"*{x} *{x} *{x} *{x} *fp32 *fp32 i32 i32 i32 i32 i32 i32 i32",
            COSINE=True, POOLED=True, BLOCK_R=16, BLOCK_N=128,
        ),
        _aot(
            _kc_dpo_sums_kernel, f"*{x} *{x} *{x} *{x} *fp32 *fp32 i32 i32 i32 i32 i32 i32 i32",
            COSINE=True, POOLED=False, BLOCK_R=1, BLOCK_N=2048,
        ),
        _aot(
            _kc_dpo_grad_kernel, f"*{x} *{x} *{x} *fp32 *fp32 *fp32 *{x} i32 i32 i32 i32 fp32 fp32",
            DISTANCE=0, SIGMOID=True, GRAD=True, BLOCK_N=2048, BLOCKS=32, TILES=2,
        ),
        _aot(_kc_dpo_scale_kernel, f"*{x} *fp32 i64", BLOCK=4096),
    )
)  # fmt: skip
