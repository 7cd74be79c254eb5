"""Pretraining of the discrete ShapeWorld LMM: one transformer learns to draw, look, list, ask and write at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from silmm import rng as keyed
from silmm.lmm.shapeworld import data, layout, vq
from silmm.lmm.shapeworld.model import L_IMAGE, ShapeWorldLlama
from silmm.lmm.shapeworld.vocab import Vocab
from silmm.settings import Pretrain
from silmm.shapeworld.language import Spec

POOL = 8000  # training specifications
WEIGHTS = {"draw": 4.0, "answer": 1.5, "list": 0.5, "text": 0.3}


def losses(model: ShapeWorldLlama, tokenizer: vq.VQTokenizer, vocab: Vocab, batch: data.Batch) -> dict[str, Tensor]:
    """Mean cross-entropy of each task."""
    return {
        "draw": _draw_loss(model, tokenizer, vocab, batch),
        **look_losses(model, tokenizer, vocab, batch),
        "text": text_loss(model, vocab, batch),
    }


def _draw_loss(model: ShapeWorldLlama, tokenizer: vq.VQTokenizer, vocab: Vocab, batch: data.Batch) -> Tensor:
    codes = tokenizer.encode(torch.from_numpy(batch.draw_images)) + vocab.first_visual
    ids = torch.cat([torch.from_numpy(batch.draw_ids), codes[:, :-1]], 1)
    mask = torch.from_numpy(layout.causal_mask(ids.numpy(), vocab.pad))
    hidden = model.hidden(ids, mask, torch.arange(ids.shape[1])[None], image_at=layout.DRAW_PREFIX)
    logits = model.lm_head(hidden[:, -L_IMAGE:])
    return F.cross_entropy(logits.flatten(0, 1), codes.flatten())


def look_losses(
    model: ShapeWorldLlama, tokenizer: vq.VQTokenizer, vocab: Vocab, batch: data.Batch
) -> dict[str, Tensor]:
    codes = tokenizer.encode(torch.from_numpy(batch.look_images)).numpy()
    ids = torch.from_numpy(np.concatenate([layout.look_prefix(vocab, codes), batch.branches.ids], 1))
    mask, positions = (torch.from_numpy(a) for a in layout.look_mask(batch.branches))
    hidden = model.hidden(ids, mask, positions, layout.LOOK_IMAGE_AT)
    target = torch.from_numpy(batch.branch_target)
    learned = target != -100
    loss = F.cross_entropy(model.lm_head(hidden[:, layout.LOOK_PREFIX :][learned]), target[learned], reduction="none")
    is_answer = torch.from_numpy(batch.branches.segment < data.N_QUESTIONS)[learned]
    return {"answer": loss[is_answer].mean(), "list": loss[~is_answer].mean()}


def text_loss(model: ShapeWorldLlama, vocab: Vocab, batch: data.Batch) -> Tensor:
    ids, target = torch.from_numpy(batch.text_ids), torch.from_numpy(batch.text_target)
    mask = torch.from_numpy(layout.causal_mask(batch.text_ids, vocab.pad))
    hidden = model.hidden(ids, mask, torch.arange(ids.shape[1])[None])
    learned = target != -100
    return F.cross_entropy(model.lm_head(hidden[learned]), target[learned])


def optimizers(model: ShapeWorldLlama, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, head and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or ".layers." not in name]
    return muon_and_adamw(matrices, others, lr)


def muon_and_adamw(
    matrices: list[torch.nn.Parameter], others: list[torch.nn.Parameter], lr: float
) -> list[torch.optim.Optimizer]:
    """The two optimisers, without weight decay; Muon's steps are scaled to match AdamW's."""
    return [
        torch.optim.Muon(matrices, lr=lr, weight_decay=0.0, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


PAINT_MIX = data.Mix(draw=96, free=32, look=12, list=4, ask=4, write=4)


class Phase(NamedTuple):
    """A part of pretraining with its own mix of tasks, optimisers and learning-rate schedule."""

    steps: int
    lr: float
    mix: data.Mix
    noise: data.Noise  # at the start
    noise_late: data.Noise  # and from the point on where the learning rate falls
    decoder: bool = True  # continuous: whether the decoder is trained too


def phases(settings: Pretrain) -> list[Phase]:
    """First the judge, then the painter; wrong captions at the end make the painter imperfect."""
    early, clean = data.Noise(0.3, 0.0), data.Noise(0.0, 0.0)
    late = data.Noise(settings.spoiled, settings.mismatched)
    return [
        Phase(settings.steps, settings.lr, data.Mix(draw=40, free=0, look=32, list=8, ask=8, write=8), early, early),
        Phase(settings.paint_steps, settings.lr, PAINT_MIX, clean, late),
    ]


FLAT = 0.6  # share of a phase before the learning rate falls


def learning_rate(step: int, steps: int) -> float:
    """Share of the peak: 30 steps of warm-up, then flat, then linear to zero over the last 40 %."""
    return min(1.0, (step + 1) / 30, max(0.02, (steps - step) / ((1 - FLAT) * steps)))


def train_step(
    model: ShapeWorldLlama,
    tokenizer: vq.VQTokenizer,
    vocab: Vocab,
    batch: data.Batch,
    opts: list[torch.optim.Optimizer],
    lr: float,
) -> dict[str, float]:
    """One optimiser step; the loss of each task."""
    return descend(losses(model, tokenizer, vocab, batch), list(model.parameters()), opts, lr)


def descend(
    parts: dict[str, Tensor], parameters: list[torch.nn.Parameter], opts: list[torch.optim.Optimizer], lr: float
) -> dict[str, float]:
    """One optimiser step on the weighted sum of the tasks' losses, which are returned as numbers."""
    total = torch.stack([WEIGHTS[name] * value for name, value in parts.items()]).sum()
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = lr
        opt.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for opt in opts:
        opt.step()
    return {name: float(value.detach()) for name, value in parts.items()}


def train_tokenizer(seed: int, pool: list[Spec], *, codes: int, steps: int) -> tuple[vq.VQTokenizer, float]:
    """The visual tokenizer, trained on rendered pictures of the pool."""
    from silmm.shapeworld.render import render
    from silmm.shapeworld.sample import sample_scene

    generator = keyed.generator(seed, "pretrain", "vq")
    images = render([sample_scene(generator, pool[i % len(pool)]) for i in range(4096)])
    tokenizer, error = vq.train(
        torch.from_numpy(images), codes=codes, steps=steps, seed=keyed.torch_seed(seed, "pretrain", "vq-weights")
    )
    return tokenizer.eval().requires_grad_(False), error
