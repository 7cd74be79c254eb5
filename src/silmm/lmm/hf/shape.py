"""What decides how much memory an LMM takes: sizes from its configs alone, for `silmm plan`."""

from __future__ import annotations

from typing import Any, NamedTuple

ITEMS = {"float32": 4, "bfloat16": 2}  # bytes of a number


class Decoder(NamedTuple):
    """A transformers decoder."""

    layers: int
    width: int
    inner: int  # of the MLP
    queries: int  # all heads' together
    keys: int  # all heads' together
    head: int  # one head's
    item: int  # bytes of a number


class Shape(NamedTuple):
    """An LMM. Bytes are those at the peak of a pass, beside the weights."""

    speaker: Decoder  # writes, asks, looks
    words: int  # it chooses from
    painter: Decoder  # draws, and learns
    codes: int  # visual tokens to choose from; 0 of an LMM that draws features
    places: int  # positions of a drawn picture
    kept: int  # bytes of a drawn sample on the disk, beside its picture
    learned: int  # bytes a sequence takes around the decoder while it learns: logits, say
    seen: int  # positions of a picture that is looked at
    looked_at: int  # pictures looked at together, of `rows` sequences
    see: int  # bytes of the picture's encoder, for so many pictures
    render: int  # bytes of the pictures' decoder, for as many as it takes at a time


def vae_peak(first: int, second: int, pixels: int) -> int:
    """Bytes at the peak of a VAE's decoder (diffusers' `AutoencoderKL`), in float32, for so many pixels: five maps of
    its last block, or three of that before, which are as large; by their channels."""
    return max(5 * first, 3 * second) * pixels * 4


def unet_peak(channels: int, places: int, dtype: str) -> int:
    """Bytes at the peak of Stable Diffusion's U-Net, for so many places of latents, by its first block's channels."""
    return (26 if dtype == "float32" else 34) * channels * places * ITEMS[dtype]


def decoder_of(config: Any, dtype: str) -> Decoder:
    """Of a transformers config of a language model."""
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Decoder(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        inner=config.intermediate_size,
        queries=heads * head,
        keys=(config.num_key_value_heads or heads) * head,
        head=head,
        item=ITEMS[dtype],
    )
