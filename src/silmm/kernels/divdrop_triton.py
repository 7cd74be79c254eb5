"""`divdrop` in Triton. A program takes a block of one row, once for some or all of its samples.

A block is made of units of EACH elements that a thread loads and stores at once, 16 bytes: a Philox group of 8 in a
16-bit dtype, half a group in float32. (There each call is made twice; passing words on between threads costs more.)

A row of x and up is a prompt's position; where x is [P, N, T, F] it is that of one sample, and read anew for each.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import rows_along_memory
from silmm.kernels.divdrop import Masks, strides_of
from silmm.kernels.philox_triton import half_lanes, lanes, philox

WARPS = 4
BLOCK = 128  # units a program: one a thread
PROGRAMS = 2048  # that fill a large GPU; with fewer, samples go to programs of their own
CONSTANTS = ["slot", "threshold"]  # not specialised: each value would be a compilation
UNROLL = tl.constexpr(4)  # samples, whose Philox calls share the sums of the key


@triton.jit
def _sigmoid(x):
    """As csrc/sigmoid.h: the same operations in the same order."""
    x = 0.0 - x
    x = tl.where(x < -87.0, -87.0, x)  # not a minimum, which may lose a NaN
    x = tl.where(x > 87.0, 87.0, x)
    shifted = x * 1.44269504 + 12582912.0
    k = shifted - 12582912.0
    r = (x - k * 0.693359375) - k * -2.12194440e-4
    p = r * 1.9875691500e-4 + 1.3981999507e-3
    p = p * r + 8.3334519073e-3
    p = p * r + 4.1665795894e-2
    p = p * r + 1.6666665459e-1
    p = p * r + 5.0000001201e-1
    p = (p * r * r + r) + 1.0
    two_to_k = (shifted.to(tl.uint32, bitcast=True) << 23) + (127 << 23)
    return tl.div_rn(1.0, 1.0 + p * two_to_k.to(tl.float32, bitcast=True))


@triton.jit
def _place(pid, samples, positions, blocks, together):
    """Prompt, position, first sample and the one after the last of a program."""
    parts = tl.maximum((samples + together - 1) // together, 1)
    row = pid // blocks // parts
    first = pid // blocks % parts * together
    last = tl.minimum(first + together, samples)
    return (row // positions).to(tl.int64), (row % positions).to(tl.int64), first.to(tl.int64), last.to(tl.int64)


@triton.jit
def _kept_from(threshold, applies):
    """2^16 times the threshold, and the scale; 0 and 1, which change nothing, where masks do not apply."""
    threshold = tl.where(applies, threshold, 0).to(tl.uint32)
    return threshold << 16, tl.div_rn(65536.0, (65536 - threshold).to(tl.float32))


@triton.jit
def _factors(key, unit_U, position, sample, slot, lowest, scale, EACH: tl.constexpr):
    """0 or the scale [U, EACH]."""
    w0, w1, w2, w3 = philox(key, unit_U * EACH // 8, position, sample, slot)
    if EACH == 8:
        lanes_UE = lanes(w0, w1, w2, w3)
    else:
        lanes_UE = half_lanes(w0, w1, w2, w3, unit_U % 2 == 1)
    return tl.where(lanes_UE >= lowest, scale, 0.0)


@triton.jit(do_not_specialize=CONSTANTS)
def _divdrop_fwd_kernel(
    x_ptr, up_ptr, keys_ptr, samples_ptr, positions_ptr, masked_ptr, out_ptr, samples, positions, width,
    x_stride_p, x_stride_n, x_stride_t, up_stride_p, up_stride_n, up_stride_t,
    samples_stride, positions_stride, masked_stride, slot, threshold, blocks, together,
    HIDDEN: tl.constexpr, MASKED: tl.constexpr, SHARED: tl.constexpr, BLOCK_U: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    p, t, first, last = _place(pid, samples, positions, blocks, together)
    unit_U = pid % blocks * BLOCK_U + tl.arange(0, BLOCK_U)
    place_UE = unit_U[:, None] * EACH + tl.arange(0, EACH)[None, :]
    inside_UE = place_UE < width
    key, position = tl.load(keys_ptr + p), tl.load(positions_ptr + p * positions_stride + t)
    applies = True
    if MASKED:
        applies = tl.load(masked_ptr + p * masked_stride + t) != 0
    lowest, scale = _kept_from(threshold, applies)
    x_ptr += p * x_stride_p + t * x_stride_t
    up_ptr += p * up_stride_p + t * up_stride_t
    if SHARED:
        values_UE = tl.load(x_ptr + place_UE, mask=inside_UE, other=0).to(tl.float32)
        if HIDDEN:
            values_UE *= _sigmoid(values_UE)
            values_UE *= tl.load(up_ptr + place_UE, mask=inside_UE, other=0).to(tl.float32)
    for n in tl.range(first, last, loop_unroll_factor=UNROLL if SHARED else 1):
        if not SHARED:
            values_UE = tl.load(x_ptr + n * x_stride_n + place_UE, mask=inside_UE, other=0).to(tl.float32)
            if HIDDEN:
                values_UE *= _sigmoid(values_UE)
                values_UE *= tl.load(up_ptr + n * up_stride_n + place_UE, mask=inside_UE, other=0).to(tl.float32)
        sample = tl.load(samples_ptr + p * samples_stride + n)
        factors_UE = _factors(key, unit_U, position, sample, slot, lowest, scale, EACH)
        out_UE = (values_UE * factors_UE).to(out_ptr.dtype.element_ty)
        tl.store(out_ptr + ((p * samples + n) * positions + t) * width + place_UE, out_UE, mask=inside_UE)


@triton.jit(do_not_specialize=CONSTANTS)
def _divdrop_bwd_kernel(
    x_ptr, up_ptr, grad_ptr, keys_ptr, samples_ptr, positions_ptr, masked_ptr, grad_x_ptr, grad_up_ptr,
    samples, positions, width, x_stride_p, x_stride_n, x_stride_t, up_stride_p, up_stride_n, up_stride_t,
    grad_stride_p, grad_stride_n, grad_stride_t, samples_stride, positions_stride, masked_stride,
    slot, threshold, blocks, together,
    HIDDEN: tl.constexpr, MASKED: tl.constexpr, SHARED: tl.constexpr, BLOCK_U: tl.constexpr, EACH: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    p, t, first, last = _place(pid, samples, positions, blocks, together)
    unit_U = pid % blocks * BLOCK_U + tl.arange(0, BLOCK_U)
    place_UE = unit_U[:, None] * EACH + tl.arange(0, EACH)[None, :]
    inside_UE = place_UE < width
    key, position = tl.load(keys_ptr + p), tl.load(positions_ptr + p * positions_stride + t)
    applies = True
    if MASKED:
        applies = tl.load(masked_ptr + p * masked_stride + t) != 0
    lowest, scale = _kept_from(threshold, applies)
    grad_ptr += p * grad_stride_p + t * grad_stride_t
    sums_UE = tl.full((BLOCK_U, EACH), 0.0, tl.float32)
    # All samples of a shared row, in their order; one sample of a row of its own.
    for n in tl.range(first, last, loop_unroll_factor=UNROLL if SHARED else 1):
        sample = tl.load(samples_ptr + p * samples_stride + n)
        factors_UE = _factors(key, unit_U, position, sample, slot, lowest, scale, EACH)
        grad_UE = tl.load(grad_ptr + n * grad_stride_n + place_UE, mask=inside_UE, other=0)
        sums_UE += grad_UE.to(tl.float32) * factors_UE
    row = p * positions + t if SHARED else (p * samples + first) * positions + t
    element = grad_x_ptr.dtype.element_ty
    if HIDDEN:
        x_ptr += p * x_stride_p + first * x_stride_n + t * x_stride_t
        up_ptr += p * up_stride_p + first * up_stride_n + t * up_stride_t
        gate_UE = tl.load(x_ptr + place_UE, mask=inside_UE, other=0).to(tl.float32)
        up_UE = tl.load(up_ptr + place_UE, mask=inside_UE, other=0).to(tl.float32)
        s_UE = _sigmoid(gate_UE)
        tl.store(grad_up_ptr + row * width + place_UE, (sums_UE * (gate_UE * s_UE)).to(element), mask=inside_UE)
        sums_UE = sums_UE * up_UE * (s_UE * (1.0 + gate_UE * (1.0 - s_UE)))
    tl.store(grad_x_ptr + row * width + place_UE, sums_UE.to(element), mask=inside_UE)


def divdrop_fwd(x: Tensor, up: Tensor | None, masks: Masks) -> Tensor:
    """As `divdrop.reference`, without gradients."""
    x, up = rows_along_memory(x), None if up is None else rows_along_memory(up)
    out_PNTF = x.new_empty(*masks.samples_PN.shape, *x.shape[-2:])
    names, rows = _names(masks)
    tensors, strides = (x, x if up is None else up, *names, out_PNTF), (*strides_of(x), *strides_of(up), *rows)
    _launch(_divdrop_fwd_kernel, x, up, masks, tensors, strides, split=True)
    return out_PNTF


def divdrop_bwd(x: Tensor, up: Tensor | None, grad_PNTF: Tensor, masks: Masks) -> tuple[Tensor, Tensor | None]:
    """Gradients of x and up, from that of what `divdrop_fwd` returns; masks are made again."""
    x, up, grad_PNTF = rows_along_memory(x), None if up is None else rows_along_memory(up), rows_along_memory(grad_PNTF)
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    grad_up = None if up is None else torch.empty_like(up, memory_format=torch.contiguous_format)
    names, rows = _names(masks)
    tensors = (x, x if up is None else up, grad_PNTF, *names, grad_x, grad_x if grad_up is None else grad_up)
    strides = (*strides_of(x), *strides_of(up), *strides_of(grad_PNTF), *rows)
    _launch(_divdrop_bwd_kernel, x, up, masks, tensors, strides, split=False)
    return grad_x, grad_up


def _launch(
    kernel: triton.JITFunction, x: Tensor, up: Tensor | None, masks: Masks, tensors: tuple[Tensor, ...],
    strides: tuple[int, ...], *, split: bool,
) -> None:  # fmt: skip
    """Run a kernel. split: a shared row's samples may go to several programs."""
    (prompts, samples), (positions, width), shared = masks.samples_PN.shape, x.shape[-2:], x.dim() == 3
    each = 16 // x.element_size()
    rows, units = prompts * positions, triton.cdiv(width, each)
    # The interpreter takes long for each program, whatever its size.
    block, wanted = (triton.next_power_of_2(units), 4) if _dispatch.interpreted() else (BLOCK, PROGRAMS)
    blocks = triton.cdiv(units, max(1, block))
    parts = max(1, min(samples, triton.cdiv(wanted, max(1, rows * blocks)) if split else 1 if shared else samples))
    together = max(1, triton.cdiv(samples, parts))
    programs = rows * blocks * max(1, triton.cdiv(samples, together))
    if not tensors[-1].numel():
        return
    with torch.cuda.device_of(x):
        kernel[(programs,)](
            *tensors, samples, positions, width, *strides, masks.slot, masks.threshold, blocks, together,
            HIDDEN=up is not None, MASKED=masks.masked_PT is not None, SHARED=shared, BLOCK_U=block, EACH=each,
            num_warps=WARPS, enable_fp_fusion=False,
        )  # fmt: skip


def _names(masks: Masks) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """What names the masks, as kernels take it, and its strides of prompts."""
    masked_PT = masks.positions_PT if masks.masked_PT is None else masks.masked_PT.view(torch.uint8)
    rows = tuple(rows_along_memory(rows) for rows in (masks.samples_PN, masks.positions_PT, masked_PT))
    return (masks.keys_P.contiguous(), *rows), tuple(tensor.stride(0) for tensor in rows)


def _ahead_of_time(kernel: triton.JITFunction, element: str) -> tuple[triton.JITFunction, dict[str, str], dict]:
    """Signature and constants of a kernel at site `hidden`, as a launch for a shared trunk would have them."""
    constants = {"HIDDEN": 1, "MASKED": 1, "SHARED": 1, "BLOCK_U": BLOCK, "EACH": 4 if element == "fp32" else 8}
    integers = {"keys_ptr": "*i64", "samples_ptr": "*i64", "positions_ptr": "*i64", "masked_ptr": "*u8"}
    signature = {
        name: integers.get(name, f"*{element}" if name.endswith("_ptr") else "i32") for name in kernel.arg_names
    }
    return kernel, signature | dict.fromkeys(constants, "constexpr"), constants


# What is compiled where there is no GPU: kernel, signature, constants.
AOT = tuple(
    _ahead_of_time(kernel, element)
    for kernel in (_divdrop_fwd_kernel, _divdrop_bwd_kernel)
    for element in ("fp32", "bf16", "fp16")
)
