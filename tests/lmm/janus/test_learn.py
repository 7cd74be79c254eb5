"""What step 5 needs of Janus: a reference that is the base, gradients of LoRA alone, and no training mode anywhere."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from silmm.align import trainer
from silmm.align.objectives import Preferences, objective, reference_of
from silmm.lmm.janus import draw
from silmm.lmm.janus.lmm import JanusLMM
from silmm.settings import Align

from .conftest import PROMPTS, load, rows_of, stir

SETTINGS = Align(sft_weight=0.0, text_weight=0.0, beta=0.2, lr=1e-2, batch=3)
TEXTS = [("write", "color", "a red apple"), ("ask", PROMPTS[0], "apple -> Is there an apple?")]


@pytest.fixture
def data(lmm: JanusLMM, codes: np.ndarray) -> Preferences:
    return Preferences(PROMPTS, codes, codes[:, ::-1].copy(), TEXTS)


def loss_of(policy: JanusLMM, data: Preferences, reference) -> Tensor:  # type: ignore[no-untyped-def]
    return objective(policy, data, reference, SETTINGS, np.arange(len(data.prompts)))[0]


def test_the_loss_starts_at_log_2(lmm: JanusLMM, data: Preferences) -> None:
    with torch.no_grad():
        assert float(loss_of(lmm, data, reference_of(lmm, data, SETTINGS))) == pytest.approx(math.log(2), abs=1e-6)


@torch.no_grad()
def test_the_loss_moves_when_only_the_reference_moves(policy: JanusLMM, data: Preferences) -> None:
    with policy.without_adapter():
        base = reference_of(policy, data, SETTINGS)
    own = reference_of(policy, data, SETTINGS)
    assert float(loss_of(policy, data, own)) == pytest.approx(math.log(2), abs=1e-5)
    assert abs(float(loss_of(policy, data, base)) - math.log(2)) > 1e-2


@torch.no_grad()
def test_without_the_adapter_it_is_the_base(lmm: JanusLMM, codes: np.ndarray) -> None:
    base = lmm.token_logps(PROMPTS, codes)
    kept = [p.clone() for p in lmm.parameters()]
    stir(lmm)
    changed = lmm.token_logps(PROMPTS, codes)
    with lmm.without_adapter():
        off = lmm.token_logps(PROMPTS, codes)
    again = lmm.token_logps(PROMPTS, codes)
    for p, old in zip(lmm.parameters(), kept, strict=True):
        p.copy_(old)
    assert torch.equal(off, base) and torch.equal(again, changed) and (changed - base).abs().max() > 0.1


def test_only_lora_learns(policy: JanusLMM, data: Preferences) -> None:
    loss_of(policy, data, reference_of(policy, data, SETTINGS)).backward()
    learned = {id(p) for p in policy.parameters()}
    for name, p in policy.weights.model.named_parameters():
        assert p.requires_grad == (id(p) in learned), name
        if id(p) in learned:
            assert p.dtype == torch.float32 and p.grad is not None and p.grad.abs().sum() > 0, name
        else:
            assert p.grad is None and "lora" not in name, name
    assert not any("lora" in name for name, _ in policy.weights.model.model.vision_model.named_parameters())


def gradients(policy: JanusLMM, codes: np.ndarray) -> tuple[Tensor, list[Tensor]]:
    for p in policy.parameters():
        p.grad = None
    logps = policy.token_logps(PROMPTS, codes)
    logps.square().mean().backward()
    return logps.detach(), [p.grad.clone() for p in policy.parameters() if p.grad is not None]


def test_checkpointing_changes_no_gradient(
    policy: JanusLMM, codes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    logps, kept = gradients(policy, codes)
    monkeypatch.setattr(draw, "checkpointed", lambda decoder: contextlib.nullcontext())
    monkeypatch.setattr(draw, "checkpoint", lambda f, *args, use_reentrant: f(*args))
    plain_logps, plain = gradients(policy, codes)
    torch.testing.assert_close(logps, plain_logps, atol=1e-5, rtol=0)
    assert len(plain) == len(kept) > 0
    for one, other in zip(kept, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_nothing_is_ever_in_training_mode(
    policy: JanusLMM, codes: np.ndarray, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = policy.weights.model
    for layer in model.model.language_model.layers:  # a dropout that would show
        monkeypatch.setattr(layer.self_attn, "attention_dropout", 0.5)
    pixels = torch.from_numpy(np.stack([pictures[0]] * 2)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        coded = model.model.vqmodel.encode(pixels).image_tokens
        wanted, drawn = policy.token_logps(PROMPTS, codes), policy.render(codes)
    logps = policy.token_logps(PROMPTS, codes)
    assert not any(module.training for module in policy.adapted.modules())
    (logps.mean() + policy.text_nll(TEXTS)).backward()
    assert not any(module.training for module in policy.adapted.modules())
    assert torch.equal(logps.detach(), wanted)
    with torch.no_grad():
        assert torch.equal(model.model.vqmodel.encode(pixels).image_tokens, coded)
    np.testing.assert_array_equal(policy.render(codes), drawn)


def test_training_moves_the_margin_and_goes_on_after_a_save(
    ckpt: Path, data: Preferences, codes: np.ndarray, tmp_path: Path
) -> None:
    policy = load(ckpt)
    base = [t.clone() for t in policy.weights.model.model.vision_model.state_dict().values()]
    reference = reference_of(policy, data, SETTINGS)
    losses: list[float] = []

    def train(lmm: JanusLMM, steps: int) -> None:
        optimizer = trainer.new_optimizer(lmm, SETTINGS)
        for step in range(steps):
            losses.append(trainer.train_step(lmm, optimizer, data, reference, SETTINGS, step, (0,))["loss"])

    train(policy, 4)
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5) and losses[-1] < 0.5 * losses[0]
    policy.save(tmp_path)
    other = load(tmp_path)
    with torch.no_grad():
        wanted = policy.token_logps(PROMPTS, codes)
        assert torch.equal(other.token_logps(PROMPTS, codes), wanted)
        assert (wanted - load(ckpt).token_logps(PROMPTS, codes)).abs().max() > 0.01
    train(policy, 2)
    train(other, 2)
    assert losses[-4:-2] == losses[-2:] and losses[-1] < losses[-5]
    for one, two in zip(policy.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    for old, new in zip(base, policy.weights.model.model.vision_model.state_dict().values(), strict=True):
        assert torch.equal(old, new)


def test_a_step_does_not_depend_on_its_passes(policy: JanusLMM, data: Preferences) -> None:
    grads = []
    for rows in (1, 16):
        for p in policy.parameters():
            p.grad = None
        one = rows_of(policy, rows)
        with torch.no_grad(), one.without_adapter():
            reference = reference_of(one, data, SETTINGS)
        loss_of(one, data, reference).backward()
        grads.append([p.grad.clone() for p in policy.parameters() if p.grad is not None])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-3)
