"""Philox4x32-10 in Triton: the words of `silmm.kernels.philox`, and its lanes in the order of memory."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def philox(key, c0, c1, c2, c3):
    """Four uint32 words of each counter under an int64 key; the words of the counter broadcast.

    Not `tl.philox`: from counters that come as 64-bit integers (so does any large one from Python) it quietly makes
    another function, and its multiplications take two instructions each where one gives both halves.
    """
    c0, c1, c2, c3 = c0.to(tl.uint32), c1.to(tl.uint32), c2.to(tl.uint32), c3.to(tl.uint32)
    k0, k1 = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    for _ in tl.static_range(10):
        product0, product1 = c0.to(tl.uint64) * 0xD2511F53, c2.to(tl.uint64) * 0xCD9E8D57
        c0, c1 = (product1 >> 32).to(tl.uint32) ^ c1 ^ k0, product1.to(tl.uint32)
        c2, c3 = (product0 >> 32).to(tl.uint32) ^ c3 ^ k1, product0.to(tl.uint32)
        k0, k1 = k0 + 0x9E3779B9, k1 + 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def lanes(w0, w1, w2, w3):
    """The sixteen-bit numbers of words [G] in their order, [G, 8]: upper halves of uint32, the lower ones are noise."""
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (w0.shape[0], 4))
    return tl.reshape(tl.join(words << 16, words), (w0.shape[0], 8))


@triton.jit
def half_lanes(w0, w1, w2, w3, second):
    """The first or, where `second`, the last four of them, [G, 4]."""
    words = tl.join(tl.where(second, w2, w0), tl.where(second, w3, w1))
    return tl.reshape(tl.join(words << 16, words), (w0.shape[0], 4))
