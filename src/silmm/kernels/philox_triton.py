"""Philox4x32-10 in Triton: the words of `silmm.kernels.philox`, and its lanes in the order of memory."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def philox(key, c0, c1, c2, c3):
    """Four uint32 words of each counter under a key. The words of the counter broadcast.

    They must be uint32 when they get to `tl.philox`: with 64-bit ones (as which Python's large integers come) it would
    quietly compute another function.
    """
    return tl.philox(key, c0.to(tl.uint32), c1.to(tl.uint32), c2.to(tl.uint32), c3.to(tl.uint32), 10)


@triton.jit
def lanes(w0, w1, w2, w3):
    """Sixteen-bit numbers [G, 8], as uint32, of words [G]: lane 2w + h is half h of word w, low half first."""
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), (w0.shape[0], 4))
    return tl.reshape(tl.join(words & 0xFFFF, words >> 16), (w0.shape[0], 8))
