"""Dream queries: learned input embeddings after a prompt, whose last hidden states are what a picture is drawn from.

    draw   <pad>.. <bos> <draw> PROMPT <image> | q1 .. q8               H = their last hidden states, layer-normed

DivDrop makes N different H of one prompt by dropout in the MLPs of the last K decoder layers. What no mask touches
runs once for all samples: the layers below, and, where only the queries are masked, the prompt's part of every layer.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb

from silmm.kernels.divdrop import divdrop
from silmm.lmm.continuous import check_dropout
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld.decode import project
from silmm.lmm.shapeworld.layout import causal_mask
from silmm.lmm.shapeworld.model import ShapeWorldLlama


class DreamQueries(nn.Module):
    """The queries' input embeddings `[Q, D]`."""

    def __init__(self, queries: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(queries, width) * 0.04)

    def __len__(self) -> int:
        return len(self.embedding)


def attention_mask(ids_BT: Tensor, queries: int, pad: int) -> Tensor:
    """Boolean `[B, 1, T+Q, T+Q]` of prefixes and the queries behind them."""
    ids = F.pad(ids_BT, (0, queries), value=-1)  # queries have no id: any that is not padding
    return torch.from_numpy(causal_mask(ids.numpy(), pad))


def dream(model: ShapeWorldLlama, queries: DreamQueries, ids_BT: Tensor, pad: int) -> Tensor:
    """H `[B, Q, D]` of prompts' prefixes (see `layout.draw_prefix`), with gradients, without dropout."""
    return _dream(model, queries.embedding.expand(len(ids_BT), -1, -1), ids_BT, pad)


@torch.no_grad()
def noisy_dreams(model: ShapeWorldLlama, queries: DreamQueries, ids_PT: Tensor, pad: int, noise_PNQD: Tensor) -> Tensor:
    """N different H of each prompt, `[P, N, Q, D]`, without dropout: by noise on the queries' input embeddings, in
    units of their root mean square (the paper's Noisy DreamEmb, Figure 5)."""
    prompts, samples = noise_PNQD.shape[:2]
    own = queries.embedding + queries.embedding.square().mean().sqrt() * noise_PNQD
    return _dream(model, own.flatten(0, 1), ids_PT.repeat_interleave(samples, 0), pad).unflatten(0, (prompts, samples))


def _dream(model: ShapeWorldLlama, own_BQD: Tensor, ids_BT: Tensor, pad: int) -> Tensor:
    """H `[B, Q, D]` of prompts' prefixes and the queries' input embeddings behind them."""
    x = torch.cat([model.embed(ids_BT), own_BQD], 1)
    hidden = model.model(
        inputs_embeds=x,
        attention_mask=attention_mask(ids_BT, own_BQD.shape[1], pad),
        position_ids=torch.arange(x.shape[1])[None],
        use_cache=False,
    ).last_hidden_state
    return normed(hidden[:, -own_BQD.shape[1] :])


def normed(hidden: Tensor) -> Tensor:
    """Layer norm without weights."""
    return F.layer_norm(hidden, hidden.shape[-1:])


class Masks(NamedTuple):
    """What names the masks of a pass (see `silmm.kernels.divdrop`), and where they apply."""

    drop: Sampling
    keys_P: Tensor
    samples_PN: Tensor
    layer: int
    positions_T: Tensor  # [P, T], in the prompt, not in the padded row


def _mlp(layer: LlamaDecoderLayer, x: Tensor, masks: Masks | None) -> Tensor:
    """Residual plus the MLP of `[P, M, T, D]`; masks fan one shared row (M = 1) out to N samples."""
    mlp = layer.mlp
    y = layer.post_attention_layernorm(x)
    if masks is None:
        return x + mlp.down_proj(F.silu(mlp.gate_proj(y)) * mlp.up_proj(y))
    site, names = masks.drop.site, masks._asdict()
    names |= {"samples_N": names.pop("samples_PN"), "rate": names.pop("drop").rate, "site": site}
    if y.shape[1] == 1:
        y = y[:, 0]  # shared: the kernel fans out
    gate, up = mlp.gate_proj(y), mlp.up_proj(y)
    if site == "hidden":
        return x + mlp.down_proj(divdrop(gate, up, **names))
    return x + divdrop(mlp.down_proj(F.silu(gate) * up), **names)


def _heads(layer: LlamaDecoderLayer, x: Tensor, rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values, `[P, M, h, T, d]` of `[P, M, T, D]`."""
    q, k, v = (y.transpose(2, 3) for y in project(layer, x))
    q, k = apply_rotary_pos_emb(q, k, *rotary)
    return q, k, v


def _attend(layer: LlamaDecoderLayer, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Residual plus attention of queries `[P, M, h, T, d]` over keys of the same P and M."""
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
    return x + layer.self_attn.o_proj(context.transpose(2, 3).flatten(3))


def _join(prompt: Tensor, own: Tensor) -> Tensor:
    """Keys or values of prompt and queries, one after the other; the prompt's may be shared by all samples."""
    return torch.cat([prompt.expand(-1, own.shape[1], -1, -1, -1), own], 3)


@torch.no_grad()
def diverse_dreams(
    model: ShapeWorldLlama,
    queries: DreamQueries,
    ids_PT: Tensor,
    pad: int,
    *,
    keys_P: Tensor,
    samples_PN: Tensor,
    drop: Sampling,
) -> Tensor:
    """N different H of each prompt, `[P, N, Q, D]`. keys_P, samples_PN: what names their masks, int64."""
    layers = model.model.layers
    check_dropout(drop, len(layers))
    t, n_queries = ids_PT.shape[1], len(queries)
    prompt = model.embed(ids_PT)[:, None]  # [P, 1, T, D]; [P, N, T, D] once masks told its samples apart
    own = queries.embedding.expand(len(ids_PT), 1, -1, -1)
    cos, sin = model.model.rotary_emb(prompt[:, 0], torch.arange(t + n_queries)[None])
    mask = attention_mask(ids_PT, n_queries, pad)
    # padding is never seen: any place will do for it
    places = (torch.arange(t + n_queries) - (ids_PT == pad).sum(1, keepdim=True)).clamp(min=0)
    for number, layer in enumerate(layers):
        rotary_prompt, rotary_own = (cos[:, :t], sin[:, :t]), (cos[:, t:], sin[:, t:])
        qp, kp, vp = _heads(layer, prompt, rotary_prompt)
        qo, ko, vo = _heads(layer, own, rotary_own)
        own = _attend(layer, own, qo, _join(kp, ko), _join(vp, vo), mask[:, :, t:])
        at_prompt = at_own = None
        if number >= len(layers) - drop.layers and drop.rate > 0:
            at_own = Masks(drop, keys_P, samples_PN, number, places[:, t:])
            at_prompt = at_own._replace(positions_T=places[:, :t]) if drop.positions == "all" else None
        own = _mlp(layer, own, at_own)
        if number < len(layers) - 1:  # after that nothing looks at the prompt any more
            prompt = _mlp(layer, _attend(layer, prompt, qp, kp, vp, mask[:, :, :t, :t]), at_prompt)
    return normed(model.model.norm(own)).expand(-1, samples_PN.shape[1], -1, -1)
