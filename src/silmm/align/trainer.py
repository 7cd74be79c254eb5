"""The alignment trainer: steps over pairs, and over the policy's own texts, whatever the objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from silmm import rng as keyed
from silmm.align.objectives import Preferences, Reference, objective
from silmm.lmm.interface import LMM
from silmm.settings import Align

TEXTS = 16  # own prompts and own question lists a step, to keep the policy from forgetting how to write
WARMUP = 5


def steps_of(settings: Align, pairs: int) -> int:
    """Optimiser steps: whole batches, the last one of an epoch may be smaller."""
    return settings.epochs * -(-pairs // settings.batch)


def batch_of(settings: Align, pairs: int, step: int, key: tuple) -> np.ndarray:
    """Pair numbers of a step: each epoch is one keyed permutation, so any step can be remade."""
    per_epoch = -(-pairs // settings.batch)
    epoch, place = divmod(step, per_epoch)
    order = keyed.generator(*key, "epoch", epoch).permutation(pairs)
    return order[place * settings.batch : (place + 1) * settings.batch]


def texts_of(settings: Align, data: Preferences, step: int, key: tuple) -> list[tuple[str, str, str]]:
    """The policy's own texts of a step; none where they have no weight."""
    if not (settings.text_weight and data.texts):
        return []
    picked = keyed.generator(*key, "texts", step).integers(len(data.texts), size=min(TEXTS, len(data.texts)))
    return [data.texts[i] for i in picked]


def learning_rate(settings: Align, step: int, steps: int) -> float:
    """Warm-up over a few steps, then linear to a tenth."""
    return settings.lr * min(1.0, (step + 1) / WARMUP) * (1.0 - 0.9 * step / max(1, steps))


def train_step(
    policy: LMM, optimizer: torch.optim.Optimizer, data: Preferences, reference: Reference, settings: Align,
    step: int, key: tuple,
) -> dict[str, float]:  # fmt: skip
    """One optimiser step; returns TRL's metrics."""
    rows = batch_of(settings, len(data.prompts), step, key)
    texts = texts_of(settings, data, step, key)
    optimizer.zero_grad(set_to_none=True)
    if 0 < settings.rows < len(rows):
        metrics = _add_up(policy, data, reference, settings, rows, texts)
    else:
        loss, metrics = objective(policy, data, reference, settings, rows)
        if texts:
            text_loss = policy.text_nll(texts)
            loss = loss + settings.text_weight * text_loss
            metrics["text_loss"] = text_loss.detach()
        loss.backward()
    metrics["grad_norm"] = torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    return {name: float(value) for name, value in metrics.items()}


def _add_up(
    policy: LMM, data: Preferences, reference: Reference, settings: Align, rows: np.ndarray,
    texts: list[tuple[str, str, str]],
) -> dict[str, Tensor]:  # fmt: skip
    """The gradients of a batch from `settings.rows` pairs at a time, and the means of their metrics: loss and metrics
    are means over pairs, so a part counts by its number of pairs."""
    metrics: dict[str, Tensor] = {}
    for start in range(0, len(rows), settings.rows):
        part = rows[start : start + settings.rows]
        loss, own = objective(policy, data, reference, settings, part)
        share = len(part) / len(rows)
        (share * loss).backward()
        metrics = {name: metrics.get(name, 0.0) + share * value for name, value in own.items()}
    if texts:
        text_loss = policy.text_nll(texts)
        if text_loss.requires_grad:  # not where other weights write than those that learn
            (settings.text_weight * text_loss).backward()
        metrics["text_loss"] = text_loss.detach()
    return metrics


def train(
    policy: LMM,
    data: Preferences,
    reference: Reference,
    settings: Align,
    *,
    key: tuple,
    start: int = 0,
    optimizer: torch.optim.Optimizer,
    after_step: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
    together: Callable[[np.ndarray, list[tuple[str, str, str]]], dict[str, float]] | None = None,
) -> None:
    """Train in place from step `start` to the end. Same key, data and settings: same weights.

    `together`: what makes a step on pairs, by their numbers, and texts, where several processes train.
    """
    steps = steps_of(settings, len(data.prompts))
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, step, steps)
        if together is None:
            metrics = train_step(policy, optimizer, data, reference, settings, step, key)
        else:
            rows = batch_of(settings, len(data.prompts), step, key)
            metrics = together(rows, texts_of(settings, data, step, key))
        after_step(step, metrics)


def new_optimizer(policy: LMM, settings: Align) -> torch.optim.Optimizer:
    """AdamW, fresh for every iteration."""
    return torch.optim.AdamW(policy.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=0.0)


def own_texts(prompts: Sequence[tuple[str, str]], questions: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """(task, input, output) of the policy's own (sub-category, prompt) and (prompt, question list) pairs."""
    return [("write", name, text) for name, text in prompts] + [("ask", text, asked) for text, asked in questions]
