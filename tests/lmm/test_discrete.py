"""The discrete LMM: it scores what it samples, pictures matter, neighbours do not, weights are accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import LMM, Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.decode import decode
from silmm.lmm.shapeworld.lmm import DiscreteLMM

PROMPTS = [
    "a red circle and a blue square",
    "a striped red circle to the left of a solid blue square with a green circle",
    "two red squares and one blue circle",
]
QUESTIONS = ["is there a red circle ?", "are there two objects ?", "is a red circle left of a blue square ?"]


def keys(prompts: int, samples: int) -> list[list[tuple]]:
    return [[("test", p, k) for k in range(samples)] for p in range(prompts)]


def test_is_an_lmm(lmm: DiscreteLMM) -> None:
    assert isinstance(lmm, LMM)


def test_teacher_forced_logps_are_those_of_the_generation(lmm: DiscreteLMM) -> None:
    """The cached, prefix-sharing decoder and the plain forward pass give the same log-probs."""
    prefix = torch.from_numpy(layout.draw_prefix(lmm.vocab, PROMPTS))
    seen: list[torch.Tensor] = []

    def choose(step: int, logits: torch.Tensor) -> torch.Tensor:
        visual = logits[:, lmm.vocab.first_visual :].log_softmax(-1)
        picked = torch.multinomial(visual.exp(), 1, generator=torch.Generator().manual_seed(step))[:, 0]
        seen.append(visual[torch.arange(len(picked)), picked])
        return picked + lmm.vocab.first_visual

    ids = decode(lmm.model, prefix, samples=2, length=lmm.length, choose=choose, pad=lmm.vocab.pad, image=True)
    generated = torch.stack(seen, 1).view(3, 2, -1)
    for k in range(2):
        forced = lmm.token_logps(PROMPTS, ids[:, k].numpy() - lmm.vocab.first_visual)
        torch.testing.assert_close(forced.detach(), generated[:, k], atol=2e-4, rtol=2e-4)


def test_samples_do_not_depend_on_their_neighbours(lmm: DiscreteLMM) -> None:
    together = lmm.draw(PROMPTS, keys(3, 2), Sampling(top_p=0.95)).tokens_PNL
    alone = lmm.draw(PROMPTS[1:2], keys(3, 2)[1:2], Sampling(top_p=0.95)).tokens_PNL
    assert together.shape == (3, 2, lmm.length)
    assert (together[1] == alone[0]).all()
    assert (together[0, 0] != together[0, 1]).any()


def test_top_p_zero_is_greedy(lmm: DiscreteLMM) -> None:
    one = lmm.draw(PROMPTS, keys(3, 2), Sampling(top_p=0.0)).tokens_PNL
    assert (one[:, 0] == one[:, 1]).all()


def test_answers_depend_on_pixels_and_not_on_neighbours(lmm: DiscreteLMM, codes: np.ndarray) -> None:
    many = lmm.answer(codes, [QUESTIONS] * 5)
    assert not np.allclose(many[0], many[1], atol=1e-4)  # another picture
    for i, question in enumerate(QUESTIONS):  # questions do not see each other
        np.testing.assert_allclose(lmm.answer(codes[:1], [[question]])[0][0], many[0][i], atol=1e-5)
    mixed = lmm.answer(codes, [QUESTIONS[: i % 4] for i in range(5)])
    assert [len(a) for a in mixed] == [0, 1, 2, 3, 0]
    np.testing.assert_allclose(mixed[3], many[3], atol=1e-5)


def test_pictures_round_trip(lmm: DiscreteLMM) -> None:
    tokens = np.random.default_rng(1).integers(0, lmm.vocab.n_visual, (4, lmm.length))
    assert lmm.render(tokens).shape == (4, 30, 30, 3)
    assert lmm.tokenize(lmm.render(tokens)).shape == (4, lmm.length)


def test_pictures_of_any_size_are_looked_at_in_the_own_one(lmm: DiscreteLMM) -> None:
    own = np.random.default_rng(2).integers(0, 256, (2, 30, 30, 3), dtype=np.uint8)
    large = own.repeat(4, 1).repeat(4, 2)
    asked = [QUESTIONS, QUESTIONS[:1]]
    found = lmm.look(list(large), asked)
    for mine, theirs in zip(lmm.answer(lmm.tokenize(own), asked), found, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("sampling", [Sampling(guidance=3.0), Sampling(top_k=5)])
def test_what_it_has_not_is_refused(lmm: DiscreteLMM, sampling: Sampling) -> None:
    with pytest.raises(ValueError, match=r"images.guidance and images.top_k: .* has neither"):
        lmm.draw(PROMPTS, keys(3, 1), sampling)


def test_logps_have_gradients_and_train_mode_changes_nothing(lmm: DiscreteLMM, codes: np.ndarray) -> None:
    evaluated = lmm.token_logps(PROMPTS, codes[:3])
    lmm.model.train()
    try:
        trained = lmm.token_logps(PROMPTS, codes[:3])
    finally:
        lmm.model.eval()
    torch.testing.assert_close(trained, evaluated, atol=0, rtol=0)
    assert evaluated.shape == (3, lmm.length) and (evaluated < 0).all()
    evaluated.sum().backward()
    assert all(p.grad is not None for n, p in lmm.model.named_parameters() if "layers" in n)
    lmm.model.zero_grad()


def test_saves_and_loads_exactly(lmm: DiscreteLMM, tmp_path: Path, codes: np.ndarray) -> None:
    lmm.save(tmp_path)
    again = models.load(tmp_path)
    assert torch.equal(again.token_logps(PROMPTS, codes[:3]), lmm.token_logps(PROMPTS, codes[:3]))
    np.testing.assert_array_equal(again.render(codes), lmm.render(codes))
    assert "ShapeWorldLlama" in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("lm_head.weight"), "lm_head.weight is missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra is unexpected"),
        (lambda w: w.update({"rows.weight": torch.zeros(2, 2)}), r"rows.weight is \[2, 2\], not \[6, 32\]"),
    ],
)
def test_wrong_weights_are_refused_by_name(lmm: DiscreteLMM, tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    lmm.save(tmp_path)
    weights = load_file(str(tmp_path / "model.safetensors"))
    change(weights)
    save_file(weights, str(tmp_path / "model.safetensors"))
    with pytest.raises(InputError, match=message):
        models.load(tmp_path)


def test_other_damage_is_refused(lmm: DiscreteLMM, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        models.load(tmp_path / "nowhere")
    lmm.save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(InputError, match="model.safetensors: not a whole safetensors file"):
        models.load(tmp_path)
    (tmp_path / "config.json").write_text('{"silmm_family": "other"}')
    with pytest.raises(InputError, match="silmm_family is 'other'"):
        models.load(tmp_path)


def test_too_long_and_unknown_words_are_named(lmm: DiscreteLMM, codes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="more than the 16 that fit"):
        lmm.draw(["a red circle and " * 6], keys(1, 1), Sampling())
    with pytest.raises(ValueError, match="unknown word 'dog'"):
        lmm.answer(codes[:1], [["is there a dog ?"]])


def test_writes_words_only(lmm: DiscreteLMM) -> None:
    texts = lmm.write(["color", "complex"], [("w", 0), ("w", 1)], temperature=1.0)
    assert texts == lmm.write(["color", "complex"], [("w", 0), ("w", 1)], temperature=1.0)
    assert not any("<" in t for t in [*texts, *lmm.ask(PROMPTS, max_tokens=20)])
