"""Dream queries: learned input embeddings behind a prompt, whose last hidden states H a picture is painted from.

DivDrop makes N different H of one prompt by dropout in the MLPs of the last layers (see `silmm.kernels.divdrop`). The
layers below run once a prompt; from the first masked MLP on, each sample has its own row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from silmm.kernels.divdrop import divdrop, mask_key
from silmm.lmm.hf.decoder import checkpointed, forward, left_pad
from silmm.lmm.hf.text import TextModel
from silmm.lmm.interface import Sampling


class Laid(NamedTuple):
    """Prompts, padded on the left, and the queries behind them."""

    embeds_PTD: Tensor
    mask_PT: Tensor  # bool: real places


def lay(model: TextModel, queries_QD: Tensor, prompts: Sequence[Sequence[int]]) -> Laid:
    """Input embeddings of prompts, as ids."""
    ids, mask = left_pad(prompts, model.pad, queries_QD.device)
    own = queries_QD.expand(len(prompts), -1, -1)
    seen = mask.new_ones(len(prompts), len(queries_QD))
    return Laid(torch.cat([model.embed(ids), own], 1), torch.cat([mask, seen], 1))


def dream(model: TextModel, queries_QD: Tensor, prompts: Sequence[Sequence[int]]) -> Tensor:
    """H `[P, Q, D]`, without dropout, with gradients."""
    blocks = []
    for i in range(0, len(prompts), model.rows):
        laid = lay(model, queries_QD, prompts[i : i + model.rows])
        with checkpointed(model.decoder):
            blocks.append(forward(model.decoder, *laid)[:, -len(queries_QD) :])
    return torch.cat(blocks)


@torch.no_grad()
def diverse_dreams(
    model: TextModel,
    queries_QD: Tensor,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[Sequence[tuple]],
    drop: Sampling,
) -> Tensor:
    """N different H of each prompt, `[P, N, Q, D]`. A mask is named by the prompt's part of a sample's key, and the
    sample's number, which ends it. Without dropout (rate or layers 0) a prompt's H are the same."""
    samples = len(keys[0])
    if not drop.rate or not drop.layers:
        return dream(model, queries_QD, prompts)[:, None].expand(-1, samples, -1, -1)
    together = max(1, model.rows // samples)  # prompts
    rows = []
    for i in range(0, len(prompts), together):
        block, names = prompts[i : i + together], keys[i : i + together]
        parts = [
            _diverse(model, queries_QD, block, [row[k : k + model.rows] for row in names], drop)
            for k in range(0, samples, model.rows)
        ]
        rows.append(torch.cat(parts, 1))
    return torch.cat(rows)


class Masks(NamedTuple):
    """What names the masks of a pass, but for the layer, and where they apply."""

    keys_P: Tensor
    samples_N: Tensor  # [P, N]
    positions_T: Tensor  # [P, T], in the prompt, not in the padded row
    masked_T: Tensor | None  # [P, T]
    rate: float
    site: str


def _diverse(
    model: TextModel, queries_QD: Tensor, prompts: Sequence[Sequence[int]], keys: Sequence[Sequence[tuple]],
    drop: Sampling,
) -> Tensor:  # fmt: skip
    """H `[P, N, Q, D]` of a block, in one pass."""
    decoder, device, queries = model.decoder, queries_QD.device, len(queries_QD)
    x, real_PT = lay(model, queries_QD, prompts)
    places_PT = (real_PT.cumsum(1) - 1).clamp(min=0)
    at_queries = torch.arange(x.shape[1], device=device) >= x.shape[1] - queries
    masks = Masks(
        torch.tensor([mask_key(*row[0][:-1]) for row in keys], device=device),
        torch.tensor([[key[-1] for key in row] for row in keys], device=device),
        places_PT,
        at_queries if drop.positions == "queries" else None,
        drop.rate,
        drop.site,
    )
    rotary = decoder.rotary_emb(x, places_PT)
    sees = _sees(real_PT)
    first = len(decoder.layers) - drop.layers
    for layer in decoder.layers[:first]:
        x = layer(x, attention_mask=sees, position_ids=places_PT, position_embeddings=rotary)
    for number, layer in enumerate(decoder.layers[first:], first):
        x = _attend(layer, x, sees, rotary)
        x = _mlp(layer, x, masks, number)
        if number == first:
            samples = len(keys[0])
            sees = sees.repeat_interleave(samples, 0)
            rotary = tuple(part.repeat_interleave(samples, 0) for part in rotary)
    return decoder.norm(x[:, -queries:]).unflatten(0, (len(prompts), -1))


def _sees(real_PT: Tensor) -> Tensor:
    """Bool `[P, 1, T, T]`: what is real and not later; padding sees itself, and is not seen."""
    width = real_PT.shape[1]
    whole = torch.ones(width, width, dtype=torch.bool, device=real_PT.device)
    return (real_PT[:, None, None] & whole.tril()) | torch.eye(width, dtype=torch.bool, device=real_PT.device)


def _attend(layer: Any, x: Tensor, sees: Tensor, rotary: tuple[Tensor, ...]) -> Tensor:
    """Residual plus attention, as transformers' layer has it."""
    read = layer.input_layernorm(x)
    return x + layer.self_attn(hidden_states=read, attention_mask=sees, position_embeddings=rotary)[0]


def _mlp(layer: Any, x: Tensor, masks: Masks, number: int) -> Tensor:
    """Residual plus the masked MLP, `[P * N, T, D]`, of x `[P, T, D]`, which all samples share, or `[P * N, T, D]`."""
    names = masks._asdict() | {"layer": number}
    mlp, prompts = layer.mlp, len(masks.keys_P)
    if len(x) == prompts * masks.samples_N.shape[1]:
        x = x.unflatten(0, (prompts, -1))
    read = layer.post_attention_layernorm(x)
    if masks.site == "hidden":
        out = mlp.down_proj(divdrop(mlp.gate_proj(read), mlp.up_proj(read), **names))
    else:
        out = divdrop(mlp(read), **names)
    return ((x if x.dim() == 4 else x[:, None]) + out).flatten(0, 1)
