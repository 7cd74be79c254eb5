"""Log-probs and what is learned from them: LoRA alone, without dropout or moving statistics, against a reference."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from silmm.align import trainer
from silmm.align.losses import preference_loss
from silmm.align.objectives import Preferences, TokenReference, objective, reference_of
from silmm.lmm.emu3 import draw, layout
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.open_language.instructions import ask_instruction, write_instruction
from silmm.settings import Align
from tests.lmm.emu3.conftest import PROMPTS, nudged

SETTINGS = Align(loss="sigmoid", beta=0.2, sft_weight=0.0, text_weight=0.1, lr=1e-2, batch=2, epochs=1)
TEXTS = [("write", "color", "a red dog"), ("ask", "a red dog", "dog -> is there a dog?")]


@pytest.fixture(scope="module")
def data() -> Preferences:
    codes = np.random.default_rng(0).integers(0, 64, (2, 3, 16))
    return Preferences(PROMPTS, codes[0], codes[1], TEXTS)


def test_fresh_lora_gives_the_base_and_a_loss_of_log_2(lmm: Emu3LMM, data: Preferences) -> None:
    reference = reference_of(lmm, data, SETTINGS)
    loss, metrics = objective(lmm, data, reference, SETTINGS, np.arange(3))
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-5)
    assert float(metrics["rewards/margins"]) == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad(), lmm.without_adapter():
        base = lmm.token_logps(data.prompts, data.chosen).sum(1)
    assert isinstance(reference, TokenReference)
    torch.testing.assert_close(reference.chosen_M, base, atol=1e-4, rtol=0)


def test_the_loss_moves_when_only_the_reference_moves(lmm: Emu3LMM, data: Preferences) -> None:
    """A reference that were the policy would give log 2 always."""
    with torch.no_grad():
        sides = [lmm.token_logps(data.prompts, tokens) for tokens in (data.chosen, data.rejected)]
        with nudged(lmm):
            reference = reference_of(lmm, data, SETTINGS)
    assert isinstance(reference, TokenReference)
    loss, _ = preference_loss(sides[0], sides[1], *reference, beta=0.2)
    assert abs(float(loss) - math.log(2)) > 0.01


def test_without_adapter_is_the_base(lmm: Emu3LMM, data: Preferences, plain: dict[str, Any]) -> None:
    """And the base's log-probs are those of transformers' own logits, renormalised over the visual tokens."""
    with nudged(lmm), torch.no_grad():
        moved = lmm.token_logps(data.prompts, data.chosen)
        with lmm.without_adapter():
            base = lmm.token_logps(data.prompts, data.chosen)
    assert float((moved - base).abs().max()) > 0.1
    visual = torch.tensor(plain["gen"].vocabulary_mapping.image_tokens)
    for prompt, codes, own in zip(data.prompts, torch.from_numpy(data.chosen), base, strict=True):
        (prefix,) = layout.draw_prefixes(lmm.gen.processor, [prompt], lmm.side)
        picture = layout.picture_ids(visual[codes][None], lmm.gen.end_of_line, 4)
        with torch.no_grad():
            logits = plain["gen"](input_ids=torch.cat([torch.tensor([prefix]), picture], 1)).logits[0]
        before = layout.places(4) + len(prefix) - 1
        theirs = logits[before][:, visual].log_softmax(-1).gather(1, codes[:, None])[:, 0]
        torch.testing.assert_close(own, theirs, atol=1e-4, rtol=0)


def test_rows_a_pass_do_not_matter(lmm: Emu3LMM, data: Preferences) -> None:
    with nudged(lmm), torch.no_grad():
        one, all_ = (
            draw.token_logps(
                lmm.gen._replace(text=lmm.gen.text._replace(rows=rows)), data.prompts, data.chosen, lmm.side
            )
            for rows in (1, 64)
        )
    torch.testing.assert_close(one, all_, atol=1e-4, rtol=0)


def test_gradients_reach_lora_alone(lmm: Emu3LMM, data: Preferences) -> None:
    with nudged(lmm):
        logps = lmm.token_logps(data.prompts, data.chosen)
        assert logps.dtype == torch.float32 and logps.device.type == "cpu"
        logps.sum().backward()
        own = lmm.parameters()
        assert all(p.dtype == torch.float32 and p.grad is not None and p.grad.abs().max() > 0 for p in own)
        assert len(own) == 2 * 2 * 7  # A and B of four projections of attention and three of the MLP, in two layers
        ids = {id(p) for p in own}
        others = [p for w in (lmm.gen, lmm.chat) for p in w.model.parameters() if id(p) not in ids]
        assert others and not any(p.requires_grad or p.grad is not None for p in others)
        names = {n for n, p in lmm.gen.model.named_parameters() if p.requires_grad}
        assert all("text_model.layers." in name for name in names)


def test_checkpointing_gives_the_same_gradients(
    lmm: Emu3LMM, data: Preferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> tuple[list[torch.Tensor], int]:
        calls = 0
        mlp = lmm.gen.text.decoder.layers[0].mlp
        lmm.adapted.zero_grad()

        def count(*_: Any) -> None:
            nonlocal calls
            calls += 1

        handle = mlp.register_forward_pre_hook(count)  # the pass back stops within
        lmm.token_logps(data.prompts, data.chosen).sum().backward()
        handle.remove()
        return [p.grad.clone() for p in lmm.parameters() if p.grad is not None], calls

    with nudged(lmm):
        frugal, twice = run()
        monkeypatch.setattr(draw, "checkpointed", lambda decoder: nullcontext())
        whole, once = run()
    assert (once, twice) == (1, 2)  # a layer runs again in the backward pass
    for one, other in zip(frugal, whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_training_leaves_everything_else_as_it_was(lmm: Emu3LMM, data: Preferences) -> None:
    """Emu3's training mode has dropout 0.1 on every residual, and a VQ encoder that takes its batch's statistics."""
    pictures = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32))
    sizes = torch.tensor([[32, 32]] * 2)

    def tokens() -> torch.Tensor:
        return torch.cat([w.model.model.get_image_tokens(pictures, sizes) for w in (lmm.gen, lmm.chat)])

    before, buffers = tokens(), {n: b.clone() for n, b in lmm.gen.model.named_buffers()}
    modes: list[bool] = []
    hooks = [
        module.register_forward_hook(lambda m, *_: modes.append(m.training))
        for w in (lmm.gen, lmm.chat)
        for module in w.model.modules()
        if isinstance(module, torch.nn.Dropout | torch.nn.modules.batchnorm._BatchNorm)
        or type(module).__name__ == "Emu3Attention"
    ]
    with nudged(lmm):
        start = [p.detach().clone() for p in lmm.parameters()]
        optimizer = trainer.new_optimizer(lmm, SETTINGS)
        reference = reference_of(lmm, data, SETTINGS)
        trainer.train(lmm, data, reference, SETTINGS, key=("test",), optimizer=optimizer)
        assert any((p != old).any() for p, old in zip(lmm.parameters(), start, strict=True))
        with torch.no_grad():
            first, second = (lmm.token_logps(data.prompts, data.chosen) for _ in range(2))
        assert torch.equal(first, second)
    for hook in hooks:
        hook.remove()
    assert modes and not any(modes)
    assert not any(m.training for w in (lmm.gen, lmm.chat) for m in w.model.modules())
    assert torch.equal(before, tokens())
    assert all(torch.equal(b, buffers[n]) for n, b in lmm.gen.model.named_buffers())


def test_training_mode_would_have_changed_codes(plain: dict[str, Any]) -> None:
    """The trap is there: with the VQ encoder in training mode the same picture has other codes."""
    model = plain["chat"].model
    pictures, sizes = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.tensor([[32, 32]] * 2)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    with torch.no_grad():
        right = model.get_image_tokens(pictures, sizes)
        model.vqmodel.train()
        wrong = model.get_image_tokens(pictures, sizes)
        model.eval()
        for name, b in model.named_buffers():
            b.copy_(buffers[name])
    assert (right != wrong).any()


def test_training_lowers_the_loss(lmm: Emu3LMM, data: Preferences) -> None:
    settings = Align(loss="sigmoid", beta=0.2, sft_weight=0.0, text_weight=0.0, lr=2e-2, batch=3, epochs=6)
    losses: list[float] = []
    with nudged(lmm):
        trainer.train(
            lmm, data, reference_of(lmm, data, settings), settings, key=("test",),
            optimizer=trainer.new_optimizer(lmm, settings), after_step=lambda _, m: losses.append(m["loss"]),
        )  # fmt: skip
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4) and losses[-1] < 0.9 * losses[0]


def test_text_nll_is_that_of_transformers(lmm: Emu3LMM, plain: dict[str, Any]) -> None:
    tokenizer = lmm.chat.processor.tokenizer
    losses = []
    for task, given, output in TEXTS:
        instruction = write_instruction(given, ("text",)) if task == "write" else ask_instruction(given)
        (prefix,) = layout.text_prefixes(lmm.chat.processor, [instruction])
        answer = [*tokenizer.encode(" " + output), tokenizer.eos_token_id]
        with torch.no_grad():
            logits = plain["chat"](input_ids=torch.tensor([prefix + answer])).logits[0, len(prefix) - 1 : -1]
        losses.append(F.cross_entropy(logits, torch.tensor(answer), reduction="none"))
    own = lmm.text_nll(TEXTS)
    assert float(own.detach()) == pytest.approx(float(torch.cat(losses).mean()), abs=1e-4)
    assert not own.requires_grad  # `chat` is other weights: no step of the policy changes it


def test_one_set_of_weights_learns_from_its_texts(disordered: Emu3LMM) -> None:
    assert disordered.gen is disordered.chat
    with nudged(disordered):
        disordered.text_nll(TEXTS).backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in disordered.parameters())
