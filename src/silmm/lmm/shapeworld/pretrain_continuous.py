"""Pretraining of the continuous ShapeWorld LMM: the discrete one's judge learns to draw with features.

Phase 1 (the judge) is the discrete LMM's. Phase 2 adds the queries and the decoder, and trains all weights: mostly on
drawing, with some looking and writing, so that these are not forgotten. Wrong captions at its end make the painter
imperfect.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from silmm import rng as keyed
from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld.base import ShapeWorldLMM
from silmm.lmm.shapeworld.canonical import canonical_scene
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.dream import DreamQueries, dream
from silmm.lmm.shapeworld.flow import new_decoder
from silmm.lmm.shapeworld.pretrain import descend, look_losses, text_loss
from silmm.settings import Pretrain
from silmm.shapeworld.language import Spec
from silmm.shapeworld.render import render

SCALE_IMAGES = 512  # pictures that set the scale of the decoder's latents


def new_painter(judge: ShapeWorldLMM, settings: Pretrain, pool: list[Spec], seed: int) -> ContinuousLMM:
    """The judge with new queries and a new decoder; the transformer is the judge's own, not a copy."""
    torch.manual_seed(keyed.torch_seed(seed, "pretrain", "painter"))
    width = judge.model.config.hidden_size
    rng = keyed.generator(seed, "pretrain", "scale")
    images = render([canonical_scene(rng, spec) for spec in pool[:SCALE_IMAGES]])
    codes = judge.tokenizer.encode(torch.from_numpy(images))
    decoder = new_decoder(
        judge.tokenizer.codebook, codes, features=width, queries=settings.queries, width=width, blocks=settings.blocks,
        heads=settings.heads,
    )  # fmt: skip
    return ContinuousLMM(judge.model, DreamQueries(settings.queries, width), decoder, judge.tokenizer, judge.vocab)


def losses(lmm: ContinuousLMM, batch: data.Batch, generator: torch.Generator) -> dict[str, Tensor]:
    """Mean cross-entropy of each task."""
    ids = torch.from_numpy(batch.draw_ids)
    feats = dream(lmm.model, lmm.queries, ids, lmm.vocab.pad)
    codes = lmm.tokenizer.encode(torch.from_numpy(batch.draw_images))
    return {
        "draw": lmm.decoder.loss(codes, feats, generator),
        **look_losses(lmm.model, lmm.tokenizer, lmm.vocab, batch),
        "text": text_loss(lmm.model, lmm.vocab, batch),
    }


def modules(lmm: ContinuousLMM) -> list[nn.Module]:
    """What phase 2 trains."""
    return [lmm.model, lmm.queries, lmm.decoder]


def optimizers(lmm: ContinuousLMM, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of layers and blocks, AdamW for embeddings, heads, norms and biases."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules(lmm):
        for name, p in module.named_parameters():
            (matrices if p.ndim == 2 and ("layers." in name or "blocks." in name) else others).append(p)
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_step(
    lmm: ContinuousLMM, batch: data.Batch, opts: list[torch.optim.Optimizer], lr: float, generator: torch.Generator
) -> dict[str, float]:
    """One optimiser step; the loss of each task. generator: draws the decoder's times and noise."""
    parameters = [p for module in modules(lmm) for p in module.parameters()]
    return descend(losses(lmm, batch, generator), parameters, opts, lr)
