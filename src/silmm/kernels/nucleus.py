"""Nucleus sampling (Holtzman et al., arXiv 1904.09751) from logits and given uniforms, the same token everywhere.

Float sums depend on their order and `exp` on the library, so a float version can return another token on another
machine, and breaks ties by rounding. Here probabilities are integers: with x_v = (logit_v - max) / temperature,

    w_v = round(2^40 exp(x_v))        (0, so never drawn, from 28.4 nats below the maximum on)

with an `exp` made of single float64 multiplications and additions. Sums of w are exact in any order. In the order of
falling w, ties by lower token id, and with W the sum of all w:

    nucleus   shortest prefix, of at least one token, with sum >= ceil(top_p W);   M = its sum
    token     first one with running sum > floor(u M)

Every implementation gives exactly these tokens: there is no tolerated difference.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from silmm.kernels import _dispatch
from silmm.kernels.arguments import describe

BITS = 40  # at most 2^22 tokens of weight at most 2^40: sums stay below 2^62
MAX_VOCAB = 1 << 22
LOWEST = -40.0  # exp(-40) 2^40 rounds to 0; clamping here keeps -inf out of the arithmetic
LOG2E = 1.4426950408889634
LN2_HI, LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # ln 2 in two parts (fdlibm)
INVERSE_FACTORIALS = [1.0 / math.factorial(n) for n in range(13)]


def nucleus(
    logits_BV: Tensor, uniforms_B: Tensor, *, temperature: float = 1.0, top_p: float = 1.0, impl: str = "auto"
) -> Tensor:
    """Sample one token a row from softmax(logits / temperature), cut to the nucleus and renormalised.

    Args:
        logits_BV: float32 [B, V], V <= 2^22, any strides; -inf forbids a token.
        uniforms_B: float64 [B] in [0, 1), on the same device.
        temperature: > 0; logits are divided by it (multiplied by its float64 inverse).
        top_p: in [0, 1]; the smallest set of tokens whose probability reaches it is kept. 0 is greedy decoding.
        impl: `reference`, `cpp`, or `auto`: cpp for CPU tensors where it is built, else reference.

    Returns:
        int64 [B] token ids.

    Raises:
        ValueError: a wrong argument, by name; or a row with NaN, +inf or nothing but -inf, by number.
        RuntimeError: `impl` is not available here.
    """
    _check(logits_BV, uniforms_B, temperature, top_p)
    chosen = _dispatch.choose("nucleus", impl, logits_BV.device)
    run = _cpp if chosen == "cpp" else reference
    return run(logits_BV.detach(), uniforms_B.detach(), 1.0 / temperature, float(top_p))


def weights(logits_BV: Tensor, inv_temperature: float) -> Tensor:
    """Integer softmax numerators int64 [B, V]: round(2^40 exp((logits - row maximum) * inv_temperature))."""
    logits_BV = logits_BV.double()
    x = ((logits_BV - logits_BV.amax(dim=1, keepdim=True)) * inv_temperature).clamp(min=LOWEST)
    k = torch.round(x * LOG2E)
    r = (x - k * LN2_HI) - k * LN2_LO
    p = torch.full_like(r, INVERSE_FACTORIALS[-1])
    for coefficient in reversed(INVERSE_FACTORIALS[:-1]):
        p = p * r + coefficient
    two_to_k = ((k.long() + (1023 + BITS)) << 52).view(torch.float64)  # the exponent field of a float64
    return torch.round(p * two_to_k).long()


def reference(logits_BV: Tensor, uniforms_B: Tensor, inv_temperature: float, top_p: float) -> Tensor:
    """The definition, in plain torch, on any device that has float64. Arguments are taken as checked."""
    if logits_BV.shape[0] == 0:
        return torch.empty(0, dtype=torch.int64, device=logits_BV.device)
    top_B = logits_BV.amax(dim=1)  # NaN if there is one in the row
    _refuse_rows((~top_B.isfinite()).nonzero().flatten().tolist()[:1])
    weights_BV, order_BV = weights(logits_BV, inv_temperature).sort(dim=1, descending=True, stable=True)
    sums_BV = weights_BV.cumsum(dim=1)
    total_B1 = sums_BV[:, -1:]
    needed_B1 = (top_p * total_B1.double()).ceil().long().clamp(min=1).minimum(total_B1)
    mass_B1 = sums_BV.gather(1, torch.searchsorted(sums_BV, needed_B1))
    target_B1 = (uniforms_B[:, None] * mass_B1.double()).floor().long().minimum(mass_B1 - 1)
    return order_BV.gather(1, torch.searchsorted(sums_BV, target_B1, right=True)).squeeze(1)


def _cpp(logits_BV: Tensor, uniforms_B: Tensor, inv_temperature: float, top_p: float) -> Tensor:
    """csrc/nucleus.cpp: one pass for the weights, then a radix select on their sums in place of the sort."""
    module, _ = _dispatch.extension()
    rows, vocab = logits_BV.shape
    if logits_BV.stride(1) != 1:
        logits_BV = logits_BV.contiguous()
    uniforms_B = uniforms_B.contiguous()
    tokens_B = torch.empty(rows, dtype=torch.int64)
    bad_row = module.nucleus(
        logits_BV.data_ptr(),
        rows,
        vocab,
        logits_BV.stride(0),
        uniforms_B.data_ptr(),
        inv_temperature,
        top_p,
        tokens_B.data_ptr(),
    )
    _refuse_rows([bad_row] if bad_row >= 0 else [])
    return tokens_B


def _refuse_rows(rows: list[int]) -> None:
    if rows:
        raise ValueError(f"logits: row {rows[0]} cannot be sampled from: it holds NaN, +inf, or nothing but -inf")


def _check(logits_BV: Tensor, uniforms_B: Tensor, temperature: float, top_p: float) -> None:
    """Raise ValueError naming the argument, what is expected and what was given."""
    if logits_BV.dim() != 2 or logits_BV.dtype != torch.float32:
        raise ValueError(f"logits: expected float32 [B, V], given {describe(logits_BV)}")
    rows, vocab = logits_BV.shape
    if rows and not 1 <= vocab <= MAX_VOCAB:
        raise ValueError(f"logits: expected 1 to {MAX_VOCAB} tokens a row, given {vocab}")
    if uniforms_B.shape != (rows,) or uniforms_B.dtype != torch.float64:
        raise ValueError(f"uniforms: expected float64 [{rows}], one a row of logits, given {describe(uniforms_B)}")
    if uniforms_B.device != logits_BV.device:
        raise ValueError(f"uniforms: expected on {logits_BV.device} like logits, given on {uniforms_B.device}")
    outside_B = ~((uniforms_B >= 0) & (uniforms_B < 1))
    if bool(outside_B.any()):
        row = int(outside_B.nonzero()[0])
        raise ValueError(f"uniforms: expected values in [0, 1), given {float(uniforms_B[row])} in row {row}")
    # Below about 1e-308 the inverse overflows; both ends are far outside any use.
    if not (math.isfinite(temperature) and temperature > 1e-300):
        raise ValueError(f"temperature: expected a finite number above 0, given {temperature}")
    if not 0.0 <= top_p <= 1.0:
        raise ValueError(f"top_p: expected a number in [0, 1], given {top_p}")
