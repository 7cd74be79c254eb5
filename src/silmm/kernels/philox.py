"""Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in plain torch integers.

A pure function of a 128-bit counter and a 64-bit key: no state, so a number depends on its name alone, never on what
was drawn before it or beside it. uint32 words ride in int64 tensors, which every device has.
"""

from __future__ import annotations

from torch import Tensor

MASK = 0xFFFFFFFF
LANES = 8  # sixteen-bit numbers that one call gives
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # what the key's two words grow by, each round

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: Tensor) -> Words:
    """Four random words of each counter under each key.

    Args:
        counter: four words, int64 in [0, 2^32), of shapes that broadcast with each other and with the key.
        key: int64, whose 64 bits are the key, low word first.

    Returns:
        Four int64 tensors of the broadcast shape, with values in [0, 2^32).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & MASK, (key >> 32) & MASK
    for _ in range(ROUNDS):
        high0, low0 = _multiply(c0, MULTIPLIERS[0])
        high1, low1 = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def lanes(words: Words) -> list[Tensor]:
    """The eight sixteen-bit numbers of each call, int64 in [0, 2^16): lane 2w + h is half h of word w, low half first.

    That is the order in which a little-endian machine has them in memory.
    """
    return [half for word in words for half in (word & 0xFFFF, word >> 16)]


def _multiply(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """High and low word of a product of two words. It may wrap to a negative int64: its bits are right all the same."""
    product = word * multiplier
    return (product >> 32) & MASK, product & MASK
