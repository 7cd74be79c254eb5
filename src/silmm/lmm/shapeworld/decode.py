"""Autoregressive decoding with a key-value cache that a prompt's N samples share.

The prefix of each prompt is run once, and its keys and values are kept once; every sample attends to them and to its
own suffix (`silmm.kernels.decode_attention`). `transformers`' `generate` would hold N copies of the prefix. The layers'
own modules do the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from silmm.kernels.decode_attention import Cache, Prefix, decode_attention, new_cache, new_prefix
from silmm.lmm.shapeworld.layout import causal_mask
from silmm.lmm.shapeworld.model import ShapeWorldLlama

Choose = Callable[[int, Tensor], Tensor]  # (step, logits_BV) -> ids_B


def project(layer: LlamaDecoderLayer, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[.., h, d]` of hidden states `[.., D]`, not yet rotated."""
    attention = layer.self_attn
    x = layer.input_layernorm(x)
    q, k, v = (
        p(x).unflatten(-1, (-1, attention.head_dim)) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    return q, k, v


def _finish(layer: LlamaDecoderLayer, x: Tensor, context: Tensor) -> Tensor:
    x = x + layer.self_attn.o_proj(context)
    return x + layer.mlp(layer.post_attention_layernorm(x))


def _prefill(model: ShapeWorldLlama, ids_PT: Tensor, pad: int) -> tuple[Tensor, list[Prefix]]:
    """Last hidden state `[P, D]` of the prefixes, and each layer's keys and values of them."""
    x = model.embed(ids_PT)
    t = ids_PT.shape[1]
    cos, sin = model.model.rotary_emb(x, torch.arange(t)[None])
    mask = torch.from_numpy(causal_mask(ids_PT.numpy(), pad))
    prefixes = []
    for layer in model.model.layers:
        q, k, v = (y.transpose(1, 2) for y in project(layer, x))
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        prefixes.append(new_prefix(k, v, ids_PT != pad))
        context = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = _finish(layer, x, context.transpose(1, 2).flatten(2))
    return model.model.norm(x[:, -1]), prefixes


def _step(
    model: ShapeWorldLlama, x_BD: Tensor, prefixes: list[Prefix], caches: list[Cache], start: int, t: int
) -> Tensor:
    """One token further for all samples: x in and out, at place t after the prefix, which ends at `start`."""
    cos, sin = model.model.rotary_emb(x_BD, torch.tensor([[start + t]]))
    rotary = cos[0, 0].contiguous(), sin[0, 0].contiguous()
    for layer, prefix, cache in zip(model.model.layers, prefixes, caches, strict=True):
        q, k, v = project(layer, x_BD)
        context = decode_attention(q, k, v, rotary, prefix, cache, t, scale=layer.self_attn.scaling)
        x_BD = _finish(layer, x_BD, context.flatten(1))
    return x_BD


@torch.no_grad()
def decode(
    model: ShapeWorldLlama,
    prefix_PT: Tensor,
    *,
    samples: int,
    length: int,
    choose: Choose,
    pad: int,
    image: bool = False,
    stop: int | None = None,
) -> Tensor:
    """Decode `length` tokens for `samples` continuations of each prefix: ids `[P, N, length]`.

    prefix_PT: ids padded on the left with `pad`. choose: picks one id a row from fp32 logits `[P*N, V]`. image: the
    decoded tokens are a picture's (they carry their place). stop: decoding ends once every row has chosen this id;
    what a row holds after it is `pad`.
    """
    p = len(prefix_PT)
    config = model.config
    heads, dim = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    caches = [new_cache(p * samples, heads, length, dim) for _ in range(config.num_hidden_layers)]
    last, prefixes = _prefill(model, prefix_PT, pad)
    logits = model.lm_head(last).repeat_interleave(samples, 0)
    out = torch.full((p, samples, length), pad)
    done = torch.zeros(p * samples, dtype=torch.bool)
    places = model.place() if image else None
    for t in range(length):
        ids = choose(t, logits)
        if stop is not None:
            ids = torch.where(done, pad, ids)
            done |= ids == stop
        out[:, :, t] = ids.view(p, samples)
        if t + 1 == length or (stop is not None and bool(done.all())):
            break
        x = model.model.embed_tokens(ids)
        if places is not None:
            x = x + places[t]
        logits = model.lm_head(model.model.norm(_step(model, x, prefixes, caches, prefix_PT.shape[1], t)))
    return out
