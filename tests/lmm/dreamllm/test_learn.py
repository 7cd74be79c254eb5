"""What step 5 needs of DreamLLM: KC-DPO as it is, a reference that is the base, gradients of LoRA alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from silmm.align import trainer
from silmm.align.objectives import Preferences, objective, reference_of
from silmm.kernels.features import pool
from silmm.lmm.dreamllm import dream as dreaming
from silmm.lmm.dreamllm import tiny
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.lmm.interface import Sampling
from silmm.settings import Align

from .conftest import PROMPTS, keys, load, rows_of, stir

SETTINGS = Align(gamma=6.0, sft_weight=0.0, text_weight=0.0, lr=1e-2, batch=3)
TEXTS = [("write", "color", "a red apple"), ("ask", PROMPTS[0], "apple -> Is there an apple?")]


@pytest.fixture
def data(lmm: DreamLMM) -> Preferences:
    feats = lmm.draw(PROMPTS, keys(), Sampling(rate=0.4, layers=3)).feats_PNQD
    assert feats is not None
    return Preferences(PROMPTS, feats[:, 0].astype(np.float32), feats[:, 1].astype(np.float32), TEXTS)


def loss_of(policy: DreamLMM, data: Preferences, reference, settings: Align = SETTINGS) -> Tensor:  # type: ignore[no-untyped-def]
    return objective(policy, data, reference, settings, np.arange(len(data.prompts)))[0]


def test_the_loss_starts_at_log_2(lmm: DreamLMM, data: Preferences) -> None:
    with torch.no_grad():
        assert float(loss_of(lmm, data, reference_of(lmm, data, SETTINGS))) == pytest.approx(math.log(2), abs=1e-6)


@torch.no_grad()
def test_the_loss_moves_when_only_the_reference_moves(policy: DreamLMM, data: Preferences) -> None:
    with policy.without_adapter():
        base = reference_of(policy, data, SETTINGS)
    own = reference_of(policy, data, SETTINGS)
    assert float(loss_of(policy, data, own)) == pytest.approx(math.log(2), abs=1e-5)
    assert abs(float(loss_of(policy, data, base)) - math.log(2)) > 1e-2


@torch.no_grad()
def test_without_the_adapter_it_is_the_base(lmm: DreamLMM) -> None:
    base = lmm.features(PROMPTS)
    kept = [p.clone() for p in lmm.parameters()]
    stir(lmm)
    changed = lmm.features(PROMPTS)
    with lmm.without_adapter():
        off = lmm.features(PROMPTS)
    for p, old in zip(lmm.parameters(), kept, strict=True):
        p.copy_(old)
    assert torch.equal(off, base) and (changed - base).abs().max() > 0.1


@pytest.mark.parametrize("pooling", ["avg", "max", "none", "query"])
def test_samples_that_are_pooled_as_they_are_read_teach_the_same(
    policy: DreamLMM, data: Preferences, pooling: str
) -> None:
    """Each sample is there once, however many pairs it is in, and each prompt's reference."""
    settings = Align(gamma=6.0, sft_weight=0.0, text_weight=0.0, pooling=pooling)
    feats = np.concatenate([data.chosen, data.rejected])
    chosen, rejected = np.array([0, 0, 1, 2]), np.array([3, 4, 5, 0])
    prompts = [PROMPTS[0], PROMPTS[0], PROMPTS[1], PROMPTS[2]]
    whole = Preferences(prompts, feats[chosen], feats[rejected], [])
    shared = Preferences(prompts, chosen, rejected, [], pool(torch.from_numpy(feats), pooling).numpy())
    with policy.without_adapter(), torch.no_grad():
        references = [reference_of(policy, one, settings) for one in (whole, shared)]
    assert [len(reference.feats) for reference in references] == [4, 3]  # type: ignore[union-attr]
    losses = [loss_of(policy, one, ref, settings) for one, ref in zip((whole, shared), references, strict=True)]
    grads = [torch.autograd.grad(loss, policy.parameters()) for loss in losses]
    torch.testing.assert_close(*(ref.spreads_M for ref in references), atol=1e-6, rtol=1e-4)  # type: ignore[union-attr]
    torch.testing.assert_close(*losses, atol=1e-5, rtol=1e-5)
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


def test_only_lora_learns(policy: DreamLMM, data: Preferences) -> None:
    loss_of(policy, data, reference_of(policy, data, SETTINGS)).backward()
    learned = {id(p) for p in policy.parameters()}
    assert len(learned) == 2 * 7 * tiny.LAYERS
    for name, p in policy.weights.model.named_parameters():
        assert p.requires_grad == (id(p) in learned), name
    assert not any(p.requires_grad for module in (policy.weights.vision, policy.painter) for p in module.parameters())
    assert all(p.dtype == torch.float32 for p in policy.parameters())


def gradients(policy: DreamLMM) -> list[Tensor]:
    for p in policy.parameters():
        p.grad = None
    policy.features(PROMPTS).square().mean().backward()
    return [p.grad.clone() for p in policy.parameters() if p.grad is not None]


def test_checkpointing_and_passes_change_no_gradient(policy: DreamLMM, monkeypatch: pytest.MonkeyPatch) -> None:
    import contextlib

    kept = gradients(policy)
    several = gradients(rows_of(policy, 2))
    monkeypatch.setattr(dreaming, "checkpointed", lambda decoder: contextlib.nullcontext())
    plain = gradients(policy)
    assert len(plain) == len(kept) == len(several) == 2 * 7 * tiny.LAYERS
    for one, two, three in zip(kept, several, plain, strict=True):
        torch.testing.assert_close(one, three, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(two, three, atol=1e-5, rtol=1e-3)


def test_nothing_is_ever_in_training_mode(
    policy: DreamLMM, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    for layer in policy.weights.text.decoder.layers:  # a dropout that would show
        monkeypatch.setattr(layer.self_attn, "attention_dropout", 0.5)
    with torch.no_grad():
        wanted = policy.features(PROMPTS)
    seen = policy.look(pictures[:1], [["Is it red?"]])[0]
    feats = policy.features(PROMPTS)
    (feats.mean() + policy.text_nll(TEXTS)).backward()
    parts = (policy.adapted, policy.weights.vision, policy.painter)
    assert not any(module.training for part in parts for module in part.modules())
    assert torch.equal(feats.detach(), wanted)
    np.testing.assert_array_equal(policy.look(pictures[:1], [["Is it red?"]])[0], seen)


@pytest.mark.parametrize("pooling", ["avg", "none"])
def test_training_moves_the_margin_and_goes_on_after_a_save(
    ckpt: Path, data: Preferences, tmp_path: Path, pooling: str
) -> None:
    settings = Align(gamma=6.0, sft_weight=0.0, text_weight=0.0, lr=1e-2, batch=3, pooling=pooling)
    policy = load(ckpt)
    reference = reference_of(policy, data, settings)
    losses: list[float] = []

    def train(lmm: DreamLMM, steps: int) -> None:
        optimizer = trainer.new_optimizer(lmm, settings)
        for step in range(steps):
            losses.append(trainer.train_step(lmm, optimizer, data, reference, settings, step, (0,))["loss"])

    train(policy, 4)
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5) and losses[-1] < losses[0] - 0.02
    policy.save(tmp_path)
    other = load(tmp_path)
    with torch.no_grad():
        assert torch.equal(other.features(PROMPTS), policy.features(PROMPTS))
    train(policy, 2)
    train(other, 2)
    assert losses[-4:-2] == losses[-2:] and losses[-1] < losses[-5]
    for one, two in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
