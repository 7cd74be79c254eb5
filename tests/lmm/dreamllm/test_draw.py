"""Features are the published model's, by DivDrop as it is defined; pictures are Stable Diffusion's own of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from silmm.kernels.divdrop import drop_mask, mask_key
from silmm.lmm.dreamllm import layout
from silmm.lmm.dreamllm.dream import diverse_dreams, dream
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.lmm.interface import Sampling
from silmm.rng import torch_seed

from .conftest import PROMPTS, keys, optioned, rows_of

DROP = Sampling(rate=0.4, layers=2)


def plain(lmm: DreamLMM, prompt: str) -> Tensor:
    """H of one prompt by transformers alone, in one pass with the marker behind the queries."""
    tokenizer, model = lmm.tokenizer, lmm.weights.model
    ids = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
    start, end = (tokenizer.convert_tokens_to_ids(name) for name in ("<dream_start>", "<dream_end>"))
    embed = model.get_input_embeddings()
    read = [embed(torch.tensor([[*ids, start]])), lmm.weights.queries_QD[None], embed(torch.tensor([[end]]))]
    hidden = model(inputs_embeds=torch.cat(read, 1), output_hidden_states=True).hidden_states[-1]
    return hidden[0, -len(lmm.weights.queries_QD) - 1 : -1]


@contextmanager
def dropped(lmm: DreamLMM, key: tuple, drop: Sampling) -> Iterator[None]:
    """DivDrop by hooks: whatever an MLP's site gives is masked in a plain forward pass of one sample."""
    layers, handles = lmm.weights.text.decoder.layers, []
    queries = len(lmm.weights.queries_QD)

    def masked(number: int, x_BTF: Tensor) -> Tensor:
        width = x_BTF.shape[1]
        kept = drop_mask(
            torch.tensor([mask_key(*key[:-1])]), torch.tensor([key[-1]]), torch.arange(width), x_BTF.shape[2], number,
            drop.site, drop.rate,
        )[0]  # fmt: skip
        there = x_BTF * kept / (1 - round(drop.rate * 65536) / 65536)
        if drop.positions == "queries":
            there[:, : width - queries - 1] = x_BTF[:, : width - queries - 1]
        return there

    for number in range(len(layers) - drop.layers, len(layers)):
        mlp = layers[number].mlp
        if drop.site == "hidden":
            hook: Any = lambda module, given, number=number: (masked(number, given[0]),)  # noqa: E731
            handles.append(mlp.down_proj.register_forward_pre_hook(hook))
        else:
            hook = lambda module, given, out, number=number: masked(number, out)  # noqa: E731
            handles.append(mlp.register_forward_hook(hook))
    yield
    for handle in handles:
        handle.remove()


def ids_of(lmm: DreamLMM, prompts: list[str]) -> list[list[int]]:
    return [layout.draw_ids(lmm.tokenizer, prompt) for prompt in prompts]


@torch.no_grad()
def test_features_are_transformers_own(policy: DreamLMM) -> None:
    found = policy.features(PROMPTS)
    assert found.dtype == torch.float32 and found.shape == (3, 4, 32)
    for prompt, own in zip(PROMPTS, found, strict=True):
        torch.testing.assert_close(own, plain(policy, prompt), atol=1e-5, rtol=1e-5)
    assert (found[0] - found[1]).abs().mean() > 0.1  # prompts are read


@pytest.mark.parametrize("site", ["hidden", "output"])
@pytest.mark.parametrize("positions", ["queries", "all"])
@pytest.mark.parametrize("layers", [1, 4])
@torch.no_grad()
def test_the_shared_trunk_is_n_full_passes(policy: DreamLMM, site: str, positions: str, layers: int) -> None:
    drop = Sampling(rate=0.4, layers=layers, site=site, positions=positions)
    names = keys(3, 2)
    found = diverse_dreams(policy.speaker, policy.weights.queries_QD, ids_of(policy, PROMPTS), names, drop)
    for i, prompt in enumerate(PROMPTS):
        for k in range(2):
            with dropped(policy, names[i][k], drop):
                wanted = plain(policy, prompt)
            torch.testing.assert_close(found[i, k], wanted, atol=2e-5, rtol=1e-4)
    assert (found[:, 0] - found[:, 1]).abs().mean() > 0.05


@pytest.mark.parametrize("drop", [Sampling(layers=2), Sampling(rate=0.4)])
def test_without_dropout_samples_are_the_features(policy: DreamLMM, drop: Sampling) -> None:
    drawn = policy.draw(PROMPTS, keys(), drop._replace(noise="free"))
    assert drawn.tokens_PNL is None and drawn.feats_PNQD is not None
    wanted = policy.features(PROMPTS).detach().half().numpy()
    for k in range(2):
        np.testing.assert_allclose(drawn.feats_PNQD[:, k], wanted, atol=4e-3)


@pytest.mark.parametrize("features", ["hidden", "projected"])
def test_what_is_drawn_and_what_is_learned_from(policy: DreamLMM, features: str) -> None:
    lmm = optioned(policy, features=features)
    drawn = lmm.draw(PROMPTS, keys(), DROP)
    width = {"hidden": 32, "projected": 24}[features]
    assert drawn.feats_PNQD is not None and drawn.pictures_PNHWC is not None
    assert drawn.feats_PNQD.shape == (3, 2, 4, width) and drawn.feats_PNQD.dtype == np.float16
    assert drawn.pictures_PNHWC.shape == (3, 2, 32, 32, 3) and drawn.pictures_PNHWC.dtype == np.uint8
    assert lmm.features(PROMPTS).shape == (3, 4, width)
    both = [policy.features(PROMPTS), optioned(policy, features="projected").features(PROMPTS)]
    torch.testing.assert_close(both[1], both[0] @ policy.painter.projector.projector.weight.T)


@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_samples_do_not_depend_on_their_batch(policy: DreamLMM, rows: int) -> None:
    drop = DROP._replace(noise="free", noises=2)
    wanted = policy.draw(PROMPTS, keys(3, 3), drop)
    turned = rows_of(policy, rows).draw(PROMPTS[::-1], [row[::-1] for row in keys(3, 3)[::-1]], drop)
    one = rows_of(policy, rows).draw(PROMPTS[1:2], [keys(3, 3)[1][2:]], drop)
    assert wanted.feats_PNQD is not None and wanted.pictures_PNHWC is not None
    np.testing.assert_allclose(turned.feats_PNQD[::-1, ::-1], wanted.feats_PNQD, atol=4e-3)  # type: ignore[index]
    np.testing.assert_allclose(one.feats_PNQD[0, 0], wanted.feats_PNQD[1, 2], atol=4e-3)  # type: ignore[index]
    pictures = wanted.pictures_PNHWC.astype(int).reshape(3, 3, 2, 32, 32, 3)
    other = turned.pictures_PNHWC.astype(int).reshape(3, 3, 2, 32, 32, 3)[::-1, ::-1]  # type: ignore[union-attr]
    assert np.abs(other - pictures).max() <= 1
    assert np.abs(one.pictures_PNHWC[0].astype(int) - pictures[1, 2]).max() <= 1  # type: ignore[index]


def test_the_same_again(policy: DreamLMM) -> None:
    one, two = (policy.draw(PROMPTS, keys(), DROP) for _ in range(2))
    np.testing.assert_array_equal(one.feats_PNQD, two.feats_PNQD)
    np.testing.assert_array_equal(one.pictures_PNHWC, two.pictures_PNHWC)


def drawn_pictures(lmm: DreamLMM, sampling: Sampling) -> np.ndarray:
    drawn = lmm.draw([PROMPTS[0]] * 2, keys(2, 2), sampling)
    assert drawn.pictures_PNHWC is not None
    return drawn.pictures_PNHWC


def test_noise_is_shared_as_it_says(lmm: DreamLMM) -> None:
    """Without dropout, pictures of one prompt differ by the decoder's noise alone."""
    constant, prompt, free = (drawn_pictures(lmm, Sampling(noise=noise)) for noise in ("constant", "prompt", "free"))
    assert (constant == constant[0, 0]).all()
    assert (prompt[:, 0] == prompt[:, 1]).all() and (prompt[0] != prompt[1]).mean() > 0.5
    assert (free[:, 0] != free[:, 1]).mean() > 0.5
    several = drawn_pictures(lmm, Sampling(noise="prompt", noises=2))
    np.testing.assert_array_equal(several[:, 0], prompt[:, 0])
    assert (several[:, 0] == several[:, 2]).all() and (several[:, 0] != several[:, 1]).mean() > 0.5


def test_features_change_the_picture_at_the_same_noise(lmm: DreamLMM) -> None:
    pictures = drawn_pictures(lmm, DROP._replace(noise="constant"))
    assert (pictures[0, 0] != pictures[0, 1]).mean() > 0.2


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_pictures_are_stable_diffusion_s_own(policy: DreamLMM, guidance: float) -> None:
    """diffusers' pipeline, given what DreamLLM gives in place of a text."""
    from diffusers import StableDiffusionPipeline

    lmm, painter = optioned(policy, guidance=guidance), policy.painter
    pipeline = StableDiffusionPipeline(
        painter.vae, None, None, painter.unet, painter.scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    drawn = lmm.draw(PROMPTS[:1], keys(1, 2), Sampling(noise="free"))
    assert drawn.pictures_PNHWC is not None
    with torch.no_grad():
        context, free = (painter.project(lmm.features([prompt])) for prompt in (PROMPTS[0], ""))
    for k, picture in enumerate(drawn.pictures_PNHWC[0]):
        wanted = pipeline(
            prompt_embeds=context, negative_prompt_embeds=free, guidance_scale=guidance, num_inference_steps=3,
            generator=torch.Generator().manual_seed(torch_seed("noise", *keys(1, 2)[0][k])), output_type="np",
        ).images[0]  # fmt: skip
        assert np.abs(picture - wanted * 255).max() <= 1
    assert not lmm.painter.scheduler.config.clip_sample  # another scheduler's config, read as DDPM's


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rate": 1.0}, "DivDrop's rate is 1.0"),
        ({"layers": 5}, "DivDrop's layers is 5: must be 0 to 4"),
        ({"site": "gate"}, "site is 'gate'"),
        ({"positions": "some"}, "positions is 'some'"),
        ({"noise": "none"}, "noise is 'none'"),
    ],
)
def test_a_sampling_that_does_not_fit(lmm: DreamLMM, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lmm.draw(PROMPTS[:1], keys(1, 1), DROP._replace(**changes))


def test_features_that_are_not_finite_are_refused(lmm: DreamLMM, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = lmm.weights.text.decoder.norm.weight
    monkeypatch.setattr(weight, "data", weight.data * 1e6)
    with pytest.raises(ValueError, match="features"):
        lmm.draw(PROMPTS[:1], keys(1, 1), Sampling())


def test_gradients_reach_lora_alone(policy: DreamLMM) -> None:
    h = dream(policy.speaker, policy.weights.queries_QD, ids_of(policy, PROMPTS))
    h.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())
    assert policy.weights.queries_QD.grad is None
