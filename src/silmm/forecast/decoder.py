"""The most memory that a transformers decoder with LoRA takes at a time, in bytes: arithmetic on its shape.

Each number stands for tensors that live together at the peak of `silmm.lmm.hf`'s code, found by following it and held
against torch's own count of allocations (tests/forecast/test_memory.py: within 15 %). All are of fused attention, as
torch runs it where it can. What a device's libraries take for themselves is not in them.
"""

from __future__ import annotations

from silmm.lmm.hf.shape import Decoder

FLOAT = 4  # bytes of LoRA's weights, and of what passes through them
NUCLEUS = 72  # bytes a logit while one is drawn: the integer arithmetic of silmm.kernels.nucleus, in plain torch
LORA_STATE = 3 * FLOAT  # bytes a weight of LoRA beside itself: its gradient, and AdamW's two means


def cache(decoder: Decoder, rows: int, places: int) -> int:
    """Keys and values of so many sequences of so many positions."""
    return rows * places * 2 * decoder.layers * decoder.keys * decoder.item


def reading(decoder: Decoder, rows: int, places: int, seen: int | None = None, *, masked: bool = True) -> int:
    """A forward pass without gradients over new positions, beside the cache.

    Args:
        seen: positions with those before; without them by default.
        masked: whether rows differ in length, so that attention needs a mask.
    """
    seen = places if seen is None else seen
    mask = masked * seen * (1 + decoder.item)  # as booleans, and as numbers to add
    mlp = 16 * decoder.inner + _residual(decoder) * decoder.width + masked * seen
    repeated = 2 * decoder.queries * decoder.item * seen // places if decoder.keys < decoder.queries else 0
    attention = (3 * decoder.width + 2 * decoder.queries) * decoder.item + mask + repeated
    return rows * places * (max(mlp, attention) + _turns(decoder))


def learning(decoder: Decoder, rows: int, places: int, *, masked: bool = True) -> int:
    """The layer whose gradients are made, its forward pass once more: of so many sequences at a time."""
    inner, width = (24, 32) if decoder.item == FLOAT else (18, 52)
    layer = inner * decoder.inner + width * decoder.width + masked * places * (1 + decoder.item) + _turns(decoder)
    return rows * places * layer


def kept(decoder: Decoder, sequences: int, places: int) -> int:
    """What every layer read, kept for the backward pass."""
    return sequences * places * decoder.layers * decoder.width * decoder.item


def lora_weights(decoder: Decoder, rank: int) -> int:
    """Numbers in LoRA's weights on the seven linear layers of every decoder layer."""
    ends = 2 * (decoder.width + decoder.queries) + 2 * (decoder.width + decoder.keys)
    return decoder.layers * rank * (ends + 3 * (decoder.width + decoder.inner))


def logits(rows: int, tokens: int) -> int:
    """Logits of so many rows while a token of each is drawn."""
    return rows * tokens * NUCLEUS


def _residual(decoder: Decoder) -> int:
    """Bytes a channel: what goes round the MLP, what goes in, and that as LoRA reads it."""
    return 3 * FLOAT if decoder.item == FLOAT else 10


def _turns(decoder: Decoder) -> int:
    """Sines and cosines of a position."""
    return 2 * decoder.head * decoder.item
