"""Pretraining of the continuous ShapeWorld LMM: the discrete one learns to draw with features.

It starts from a discrete base, which looks, asks, writes, and knows what captions mean. Queries and a decoder are
added, and all weights are trained: mostly on drawing, with some looking and writing, so that these are not forgotten;
first on right captions, then, for a short while, on spoiled ones, which makes the painter imperfect. The decoder is
frozen then, as in models whose decoder is a finished diffusion model: what is wrong lies in the features, which is
where KC-DPO can mend it. A decoder that learns from spoiled captions itself draws wrong things from right features.
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
from silmm.lmm.shapeworld.pretrain import Phase, descend, look_losses, muon_and_adamw, text_loss
from silmm.settings import Pretrain
from silmm.shapeworld.language import Spec, write_prompt
from silmm.shapeworld.render import render
from silmm.shapeworld.sample import sample_free_spec

CELL_IMAGES = 8000  # pictures whose cells the decoder draws with
RANGE_CAPTIONS = 2048  # captions whose features make the decoder's range
MIX = data.Mix(draw=64, free=21, look=6, list=2, ask=2, write=2)


def phases(settings: Pretrain) -> list[Phase]:
    """Right captions until it draws well, then wrong ones; in each the learning rate falls to zero."""
    clean, wrong = data.Noise(0.0, 0.0), data.Noise(settings.spoiled, settings.mismatched)
    return [
        Phase(settings.paint_steps, settings.lr, MIX, clean, clean),
        Phase(settings.spoil_steps, settings.lr / 2, MIX, wrong, wrong, decoder=False),
    ]


def new_painter(judge: ShapeWorldLMM, settings: Pretrain, pool: list[Spec], seed: int) -> ContinuousLMM:
    """The judge with new queries and a new decoder; the transformer is the judge's own, not a copy."""
    torch.manual_seed(keyed.torch_seed(seed, "pretrain", "painter"))
    width = judge.model.config.hidden_size
    rng = keyed.generator(seed, "pretrain", "cells")
    specs = [*pool, *(sample_free_spec(rng) for _ in range(CELL_IMAGES))]
    images = render([canonical_scene(rng, spec) for spec in specs])
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


@torch.no_grad()
def measure_range(lmm: ContinuousLMM, pool: list[Spec], seed: int) -> None:
    """Keep the range of the features that the decoder is trained on: those of right captions, mixed as in training.

    Call it when the decoder freezes: its learning rate has come down to zero on the features as they are then.
    """
    rng = keyed.generator(seed, "pretrain", "range")
    free = RANGE_CAPTIONS * MIX.free // MIX.draw
    specs = [pool[rng.integers(len(pool))] for _ in range(RANGE_CAPTIONS - free)]
    captions = [write_prompt(spec, rng) for spec in [*specs, *(sample_free_spec(rng) for _ in range(free))]]
    blocks = [lmm.features(captions[i : i + MIX.draw]) for i in range(0, RANGE_CAPTIONS, MIX.draw)]
    lmm.decoder.range.measure(torch.cat(blocks))


def modules(lmm: ContinuousLMM) -> list[nn.Module]:
    """What pretraining changes."""
    return [lmm.model, lmm.queries, lmm.decoder]


def optimizers(lmm: ContinuousLMM, lr: float, *, decoder: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of layers and blocks, AdamW for embeddings, heads, norms and biases; freezes or frees the
    decoder."""
    lmm.decoder.requires_grad_(decoder)
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules(lmm):
        for name, p in module.named_parameters():
            if p.requires_grad:
                (matrices if p.ndim == 2 and ("layers." in name or "blocks." in name) else others).append(p)
    return muon_and_adamw(matrices, others, lr)


def train_step(
    lmm: ContinuousLMM, batch: data.Batch, opts: list[torch.optim.Optimizer], lr: float, generator: torch.Generator
) -> dict[str, float]:
    """One optimiser step; the loss of each task. generator: draws the decoder's times and noise."""
    parameters = [p for module in modules(lmm) for p in module.parameters() if p.requires_grad]
    return descend(losses(lmm, batch, generator), parameters, opts, lr)
