"""Log-probs and what is learned from them: LoRA alone, against a reference, and nothing else moves."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from silmm.align import trainer
from silmm.align.losses import preference_loss
from silmm.align.objectives import Preferences, TokenReference, objective, reference_of
from silmm.lmm.hf.lora import weights
from silmm.lmm.seed_llama import draw, layout
from silmm.lmm.seed_llama.lmm import SeedLMM
from silmm.settings import Align

from .conftest import PROMPTS, rows_of

SETTINGS = Align(loss="sigmoid", beta=0.2, sft_weight=0.0, text_weight=0.1, lr=1e-2, batch=2, epochs=1)
TEXTS = [("write", "color", "a red dog"), ("ask", "a red dog", "dog -> is there a dog?")]


@pytest.fixture(scope="module")
def data() -> Preferences:
    codes = np.random.default_rng(0).integers(0, 64, (2, 3, 32))
    return Preferences(PROMPTS, codes[0], codes[1], TEXTS)


def test_fresh_lora_gives_a_loss_of_log_2(lmm: SeedLMM, data: Preferences) -> None:
    reference = reference_of(lmm, data, SETTINGS)
    loss, metrics = objective(lmm, data, reference, SETTINGS, np.arange(3))
    assert float(metrics["dpo_loss"]) == pytest.approx(math.log(2), abs=1e-5)
    assert float(metrics["rewards/margins"]) == pytest.approx(0.0, abs=1e-5)
    assert float(loss.detach()) > math.log(2)  # and the loss of the texts


def test_the_loss_moves_when_only_the_reference_moves(policy: SeedLMM, data: Preferences) -> None:
    """A reference that were the policy would give log 2 always."""
    reference = reference_of(policy, data, SETTINGS)
    assert isinstance(reference, TokenReference)
    with torch.no_grad(), policy.without_adapter():
        sides = [policy.token_logps(data.prompts, tokens) for tokens in (data.chosen, data.rejected)]
    loss, _ = preference_loss(sides[0], sides[1], *reference, beta=0.2)
    assert abs(float(loss) - math.log(2)) > 0.01


def test_without_adapter_is_the_base(policy: SeedLMM, data: Preferences, plain: Any) -> None:
    """And the base's log-probs are those of transformers' own logits, renormalised over the visual tokens."""
    with torch.no_grad():
        moved = policy.token_logps(data.prompts, data.chosen)
        with policy.without_adapter():
            base = policy.token_logps(data.prompts, data.chosen)
    assert float((moved - base).abs().max()) > 0.1
    visual = policy.weights.visual_C
    for prompt, codes, own in zip(data.prompts, torch.from_numpy(data.chosen), base, strict=True):
        prefix = layout.draw_ids(policy.tokenizer, "vicuna", prompt)
        with torch.no_grad():
            logits = plain(input_ids=torch.cat([torch.tensor(prefix), visual[codes]])[None]).logits[0]
        before = logits[len(prefix) - 1 : -1][:, visual]
        torch.testing.assert_close(own, before.log_softmax(-1).gather(1, codes[:, None])[:, 0], atol=1e-4, rtol=0)


def test_rows_a_pass_do_not_matter(policy: SeedLMM, data: Preferences) -> None:
    with torch.no_grad():
        one, many = (rows_of(policy, rows).token_logps(data.prompts, data.chosen) for rows in (1, 64))
    assert one.shape == (3, 32)
    torch.testing.assert_close(one, many, atol=1e-4, rtol=0)


def test_gradients_reach_lora_alone(policy: SeedLMM, data: Preferences) -> None:
    logps = policy.token_logps(data.prompts, data.chosen)
    assert logps.dtype == torch.float32 and logps.device.type == "cpu"
    logps.sum().backward()
    own = policy.parameters()
    assert all(p.dtype == torch.float32 and p.grad is not None and p.grad.abs().max() > 0 for p in own)
    assert len(own) == 2 * 2 * 7  # A and B of four projections of attention and three of the MLP, in two layers
    ids = {id(p) for p in own}
    models = (policy.weights.model, policy.quantizer, policy.pipeline.unet, policy.pipeline.vae)
    others = [p for model in models for p in model.parameters() if id(p) not in ids]
    assert others and not any(p.requires_grad or p.grad is not None for p in others)
    assert all(".layers." in name for name in weights(policy.adapted))


def test_checkpointing_gives_the_same_gradients(
    policy: SeedLMM, data: Preferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gradients() -> tuple[list[torch.Tensor], int]:
        calls: list[int] = []
        policy.adapted.zero_grad()
        hook = policy.weights.text.decoder.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
        policy.token_logps(data.prompts, data.chosen).sum().backward()
        hook.remove()
        return [p.grad.clone() for p in policy.parameters() if p.grad is not None], len(calls)

    frugal, twice = gradients()
    monkeypatch.setattr(draw, "checkpointed", lambda decoder: nullcontext())
    whole, once = gradients()
    assert (once, twice) == (1, 2)  # a layer runs again in the backward pass
    for one, other in zip(frugal, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_training_moves_lora_and_leaves_pictures_as_they_were(
    policy: SeedLMM, data: Preferences, pictures: list[np.ndarray]
) -> None:
    """Codes, renderings and logits: the Q-Former's own config has dropout, and nothing may switch it on."""
    codes, drawn = [policy.codes_of(picture) for picture in pictures], policy.render(data.chosen[:1])
    start = [p.detach().clone() for p in policy.parameters()]
    kept = [p.clone() for p in policy.weights.text.decoder.layers[0].parameters() if not p.requires_grad]
    reference = reference_of(policy, data, SETTINGS)
    optimizer = trainer.new_optimizer(policy, SETTINGS)
    trainer.train(policy, data, reference, SETTINGS, key=("test",), optimizer=optimizer)
    assert any((p != old).any() for p, old in zip(policy.parameters(), start, strict=True))
    with torch.no_grad():
        first, second = (policy.token_logps(data.prompts, data.chosen) for _ in range(2))
    assert torch.equal(first, second)
    frozen = [p for p in policy.weights.text.decoder.layers[0].parameters() if not p.requires_grad]
    assert all(torch.equal(p, old) for p, old in zip(frozen, kept, strict=True))
    models = (policy.weights.model, policy.quantizer, policy.pipeline.unet, policy.pipeline.vae)
    assert not any(module.training for model in models for module in model.modules())
    assert all(torch.equal(policy.codes_of(p), old) for p, old in zip(pictures, codes, strict=True))
    assert (policy.render(data.chosen[:1]) == drawn).all()


def test_training_mode_would_have_changed_codes(lmm: SeedLMM, pictures: list[np.ndarray]) -> None:
    """The trap is there."""
    right = lmm.codes_of(pictures[0])
    try:
        lmm.quantizer.train()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            assert (lmm.codes_of(pictures[0]) != right).any()
    finally:
        lmm.quantizer.eval()


def test_training_lowers_the_loss(policy: SeedLMM, data: Preferences) -> None:
    settings = Align(loss="sigmoid", beta=0.2, sft_weight=0.0, text_weight=0.0, lr=2e-2, batch=3, epochs=6)
    losses: list[float] = []
    trainer.train(
        policy, data, reference_of(policy, data, settings), settings, key=("test",),
        optimizer=trainer.new_optimizer(policy, settings), after_step=lambda _, m: losses.append(m["loss"]),
    )  # fmt: skip
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4) and losses[-1] < 0.9 * losses[0]
