"""From features to a picture: a small flow-matching decoder over the visual tokenizer's latents.

x(t) = (1 - t) noise + t latents, t from 0 (noise) to 1. The network gives, for each cell of 2 x 2 places, a
distribution over the cells that pictures are made of; its mean is the estimate of the clean latents, and the flow's
velocity is (estimate - x) / (1 - t). Regression of the latents has the same optimum, the posterior mean; cross-entropy
reaches it with fewer steps. A picture is whole cells, so an object is never half of one and half of another.
"""

from __future__ import annotations

import itertools

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from torch import Tensor, nn
from torch.nn import functional as F

from silmm.lmm.shapeworld.feature_range import FeatureRange
from silmm.shapeworld.scene import GRID

STEPS = 6  # Euler steps
TIMES = tuple(k / STEPS for k in range(STEPS + 1))
# Codes stand this far from their mean (root mean square over codes and dimensions). At 1 and more, in 32 dimensions, a
# code shows through almost pure noise: all is decided in the first Euler step, before places can agree.
SCALE = 0.5
CELL = 2  # a token of the decoder is 2 x 2 places, as large as an object: its four codes are decided together
CELLS = (GRID // CELL) ** 2


def fold(x_BLd: Tensor) -> Tensor:
    """Places `[B, 36, d]` as cells `[B, 9, 4 d]`."""
    x = x_BLd.unflatten(1, (GRID // CELL, CELL, GRID // CELL, CELL))
    return x.transpose(2, 3).flatten(3).flatten(1, 2)


def unfold(x_BCd: Tensor) -> Tensor:
    """The inverse: `[B, 36, d]` of `[B, 9, 4 d]`."""
    x = x_BCd.unflatten(1, (GRID // CELL, GRID // CELL)).unflatten(3, (CELL, CELL, -1))
    return x.transpose(2, 3).flatten(1, 4)


class FlowDecoder(nn.Module):
    """Transformer over 9 cells of 2 x 2 places; it reads features by cross-attention, and their mean with the time."""

    codes: Tensor  # int64 [C, 4]: the cells that pictures are made of
    points: Tensor  # [C, 4 d]: their latents, shifted and scaled

    def __init__(self, cells: int, dim: int, *, features: int, queries: int, width: int, blocks: int, heads: int):
        super().__init__()
        self.shape = {"cells": cells, "width": width, "blocks": blocks, "heads": heads}  # for a checkpoint's config
        self.register_buffer("codes", torch.zeros(cells, CELL**2, dtype=torch.int64))
        self.register_buffer("points", torch.zeros(cells, CELL**2 * dim))
        self.enter = nn.Linear(CELL**2 * dim, width)
        self.place = nn.Parameter(torch.randn(CELLS, width) * 0.1)
        self.memory = nn.Linear(features, width)
        self.memory_place = nn.Parameter(torch.randn(queries, width) * 0.1)
        self.pooled = nn.Linear(features, width)
        self.time = Timesteps(width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width, width)
        self.blocks = nn.ModuleList(
            BasicTransformerBlock(
                width, heads, width // heads, cross_attention_dim=width, activation_fn="gelu", attention_bias=False,
                norm_type="ada_norm_continuous", ada_norm_continous_conditioning_embedding_dim=width, ada_norm_bias=1,
                ff_inner_dim=2 * width, norm_elementwise_affine=False,
            )
            for _ in range(blocks)
        )  # fmt: skip
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, cells)
        self.range = FeatureRange(queries, features)  # of training: what it can be asked to draw

    def forward(self, x_BKd: Tensor, t_B: Tensor, feats_BQD: Tensor) -> Tensor:
        """Logits `[B, 9, C]` of the cells, given noisy latents `[B, 9, 4 d]`, times and features."""
        condition = self.time_embedding(self.time(1000 * t_B)) + self.pooled(feats_BQD.mean(1))
        memory = self.memory(feats_BQD) + self.memory_place
        h = self.enter(x_BKd) + self.place
        for block in self.blocks:
            h = block(h, encoder_hidden_states=memory, added_cond_kwargs={"pooled_text_emb": condition})
        return self.leave(self.norm(h))

    def cells_of(self, codes_BL: Tensor) -> Tensor:
        """Numbers `[B, 9]` of the cells of pictures; -100 for a cell that is none of them."""
        same = (fold(codes_BL[..., None])[:, :, None] == self.codes).all(-1)
        return torch.where(same.any(-1), same.int().argmax(-1), -100)

    def loss(self, codes_BL: Tensor, feats_BQD: Tensor, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of the cells at one random time a picture."""
        target = self.cells_of(codes_BL)
        t_B = torch.sigmoid(1.2 * torch.randn(len(target), generator=generator) - 1.0)  # mostly noisy
        clean = self.points[target.clamp(min=0)]
        noise = torch.randn(clean.shape, generator=generator)
        x_BKd = torch.lerp(noise, clean, t_B[:, None, None])
        return F.cross_entropy(self(x_BKd, t_B, feats_BQD).flatten(0, 1), target.flatten())

    @torch.no_grad()
    def sample(self, feats_BQD: Tensor, noise_BLd: Tensor) -> Tensor:
        """Codes int64 `[B, 36]`, a deterministic function of features and noise `[B, 36, d]`."""
        x = fold(noise_BLd)
        for now, then in itertools.pairwise(TIMES):
            clean = self(x, torch.full((len(x),), now), feats_BQD).softmax(-1) @ self.points
            x = x + (clean - x) * ((then - now) / (1 - now))
        nearest = torch.cdist(x.flatten(0, 1), self.points).argmin(1).view(x.shape[:2])
        return unfold(self.codes[nearest]).squeeze(-1)


def new_decoder(
    codebook_Vd: Tensor, codes_NL: Tensor, *, features: int, queries: int, width: int, blocks: int, heads: int
) -> FlowDecoder:
    """A decoder with random weights (from torch's global generator) for the cells of the pictures `codes_NL`."""
    cells = fold(codes_NL[..., None]).flatten(0, 1).unique(dim=0)
    latents = codebook_Vd[cells]  # each cell once: background would outweigh all others
    mean = latents.mean((0, 1))
    decoder = FlowDecoder(
        len(cells), codebook_Vd.shape[1], features=features, queries=queries, width=width, blocks=blocks, heads=heads
    )
    decoder.codes.copy_(cells)
    decoder.points.copy_(((latents - mean) * (SCALE / (latents - mean).square().mean().sqrt())).flatten(1))
    return decoder
