"""Autoregressive decoding with a key-value cache that a prompt's N samples share.

The prefix of each prompt is run once, and its keys and values are kept once; every sample attends to them and to its
own suffix. `transformers`' `generate` would hold N copies of the prefix. The layers' own modules do the work.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from silmm.lmm.shapeworld.model import ShapeWorldLlama

Choose = Callable[[int, Tensor], Tensor]  # (step, logits_BV) -> ids_B


class Suffix:
    """Per-layer keys `[P*h*N, d, T]` and values `[P*h*N, T, d]` of what the samples have decoded so far.

    Keys lie transposed: a step multiplies one query with all of them, and that way the product runs along memory.
    """

    def __init__(self, layers: int, rows: int, length: int, dim: int) -> None:
        self.keys, self.values = torch.empty(layers, rows, dim, length), torch.empty(layers, rows, length, dim)


def _split_heads(layer: LlamaDecoderLayer, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys and values, each `[B, h, T, d]`, of hidden states `[B, T, D]`."""
    attention = layer.self_attn
    h = layer.input_layernorm(x)
    q, k, v = (
        p(h).view(*h.shape[:2], -1, attention.head_dim).transpose(1, 2)
        for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    q, k = apply_rotary_pos_emb(q, k, cos, sin)
    return q, k, v


def _finish(layer: LlamaDecoderLayer, x: Tensor, context: Tensor) -> Tensor:
    x = x + layer.self_attn.o_proj(context)
    return x + layer.mlp(layer.post_attention_layernorm(x))


def _prefill(model: ShapeWorldLlama, ids_PT: Tensor, seen_PT: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Last hidden state `[P, D]` of the prefixes, and each layer's keys and values `[P, h, T, d]`."""
    x = model.embed(ids_PT)
    t = ids_PT.shape[1]
    cos, sin = model.model.rotary_emb(x, torch.arange(t)[None])
    mask = torch.ones(t, t, dtype=torch.bool).tril() & seen_PT[:, None] | torch.eye(t, dtype=torch.bool)
    cache = []
    for layer in model.model.layers:
        q, k, v = _split_heads(layer, x, cos, sin)
        cache.append((k, v))
        context = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        x = _finish(layer, x, context.transpose(1, 2).flatten(2))
    return model.model.norm(x[:, -1]), cache


def _step(
    model: ShapeWorldLlama, x: Tensor, cache: list[tuple[Tensor, Tensor]], suffix: Suffix, unseen_PT: Tensor, t: int
) -> Tensor:
    """One token further for all samples: x `[P, N, D]` in and out, at place t of the suffix."""
    p, n, _ = x.shape
    heads, start, dim = cache[0][0].shape[1:]
    cos, sin = model.model.rotary_emb(x, torch.tensor([[start + t]]))
    for i, (layer, (keys, values)) in enumerate(zip(model.model.layers, cache, strict=True)):
        q, k, v = (
            y.view(p, n, heads, dim).transpose(1, 2) for y in _split_heads(layer, x.flatten(0, 1)[:, None], cos, sin)
        )  # each p, h, n, d
        suffix.keys[i].view(p, heads, n, dim, -1)[..., t] = k
        suffix.values[i].view(p, heads, n, -1, dim)[..., t, :] = v
        q = q.contiguous()
        shared = (q @ keys.transpose(2, 3)).masked_fill_(unseen_PT[:, None, None], float("-inf"))
        own = torch.bmm(q.view(-1, 1, dim), suffix.keys[i, :, :, : t + 1]).view(p, heads, n, t + 1)
        weights = torch.cat([shared, own], -1).mul_(layer.self_attn.scaling).softmax(-1)
        past = weights.view(-1, 1, start + t + 1)[..., start:]
        context = torch.bmm(past, suffix.values[i, :, : t + 1]).view(p, heads, n, dim)
        context += weights[..., :start] @ values
        x = _finish(layer, x, context.transpose(1, 2).flatten(2))
    return x


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
    suffix = Suffix(config.num_hidden_layers, p * heads * samples, length, dim)
    seen = prefix_PT != pad
    last, cache = _prefill(model, prefix_PT, seen)
    logits = model.lm_head(last)[:, None].expand(p, samples, -1)
    out = torch.full((p, samples, length), pad)
    done = torch.zeros(p * samples, dtype=torch.bool)
    places = model.place() if image else None
    for t in range(length):
        ids = choose(t, logits.reshape(p * samples, -1))
        if stop is not None:
            ids = torch.where(done, pad, ids)
            done |= ids == stop
        out[:, :, t] = ids.view(p, samples)
        if t + 1 == length or (stop is not None and bool(done.all())):
            break
        x = model.model.embed_tokens(out[:, :, t])
        if places is not None:
            x = x + places[t]
        logits = model.lm_head(model.model.norm(_step(model, x, cache, suffix, ~seen, t)))
    return out
