"""Running a transformers decoder: left-padded batches, a cache in memory set aside once, gradients by checkpoints.

A decoder is transformers' bare language model (`LlamaModel`, `Emu3TextModel`): embeddings in, hidden states out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class RoomyLayer(DynamicLayer):
    """One layer's keys and values `[B, heads, room, width]`; transformers' own grow by copying all of them a step."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Set the memory aside, for as many rows as the first keys have."""
        super().lazy_initialization(key_states, value_states)
        self._keys, self._values = (
            t.new_empty(*t.shape[:2], self.room, t.shape[-1]) for t in (key_states, value_states)
        )

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append; returns all keys and values so far, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if end > self.room:
            raise ValueError(f"the cache has room for {self.room} positions, not for {end}")
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values


def new_cache(decoder: Any, room: int) -> Cache:
    """An empty cache for so many positions; for use without gradients."""
    return Cache(layers=[RoomyLayer(room) for _ in decoder.layers])


def fan_out(cache: Cache, rows: Sequence[int], room: int) -> Cache:
    """A new cache whose row i holds what row `rows[i]` of this one does, with more room."""
    index = torch.tensor(list(rows), device=cache.layers[0].keys.device)
    layers = []
    for old in cache.layers:
        layer = RoomyLayer(room)
        layer.update(old.keys[index], old.values[index])
        layers.append(layer)
    return Cache(layers=layers)


def left_pad(rows: Sequence[Sequence[int]], pad: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Ids int64 `[B, T]` and which of them are real, bool `[B, T]`, T being the longest row's length."""
    width = max(map(len, rows), default=0)
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], dtype=torch.int64, device=device)
    mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows], device=device)
    return ids.reshape(len(rows), width), mask.reshape(len(rows), width)


def forward(decoder: Any, embeds_BTD: Tensor, mask_BS: Tensor, cache: Cache | None = None) -> Tensor:
    """Last hidden states `[B, T, D]` of T new positions; S counts those in the cache, too.

    Places count real positions only, so that a row does not depend on how much padding its batch brings.
    """
    new = embeds_BTD.shape[1]
    places_BT = (mask_BS.cumsum(1)[:, -new:] - 1).clamp(min=0)
    # One new position sees all that is real: transformers need not build its mask anew at every step.
    mask = mask_BS[:, None, None] if new == 1 and cache is not None else mask_BS
    return decoder(
        inputs_embeds=embeds_BTD, attention_mask=mask, position_ids=places_BT, past_key_values=cache,
        use_cache=cache is not None,
    ).last_hidden_state  # fmt: skip


@contextmanager
def checkpointed(decoder: Any) -> Iterator[None]:
    """Keep only each layer's input for the backward pass, in forward passes inside; nothing where gradients are off.

    transformers asks the layer's own `training` flag, which is set on the decoder layers alone: their parts stay in
    eval mode, so no dropout is switched on. It must be off elsewhere, because such a layer ignores its cache.
    """
    if not torch.is_grad_enabled():
        yield
        return
    if not decoder.layers[0].gradient_checkpointing:
        with warnings.catch_warnings():  # transformers 5.23 has another name for it, which 5.17 has not
            warnings.simplefilter("ignore", FutureWarning)
            decoder.gradient_checkpointing_enable({"use_reentrant": False})
        # It also asks for gradients of the embeddings: a graph, and a backward pass, even where nothing learns.
        decoder.disable_input_require_grads()
    try:
        for layer in decoder.layers:
            layer.training = True
        yield
    finally:
        for layer in decoder.layers:
            layer.training = False
