"""Drawing: the same distribution as teacher forcing and as transformers' own `generate`; pictures of the tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from silmm.errors import InputError
from silmm.lmm.interface import DiscreteImages, Sampling
from silmm.lmm.seed_llama import draw, layout, unclip
from silmm.lmm.seed_llama.lmm import SeedLMM
from silmm.lmm.seed_llama.names import END, START, VISUAL

from .conftest import PROMPTS, keys, reference_ids, rows_of

ROOT = Path(__file__).parents[3]


def test_is_a_discrete_lmm_of_the_open_world(lmm: SeedLMM, disordered: SeedLMM) -> None:
    assert isinstance(lmm, DiscreteImages)
    assert (lmm.world, lmm.images, lmm.length, disordered.length) == ("open", "discrete", 32, 12)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_teacher_forced_logps_are_those_of_the_generation(
    policy: SeedLMM, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    seen: list[torch.Tensor] = []
    choose = draw.choose

    def spy(logits_SC: torch.Tensor, *rest: Any) -> torch.Tensor:
        codes = choose(logits_SC, *rest)
        seen.append(logits_SC.log_softmax(-1).gather(1, codes[:, None])[:, 0])
        return codes

    monkeypatch.setattr(draw, "choose", spy)
    packed = rows_of(policy, rows)
    codes = packed.draw(PROMPTS, keys(3, 2), Sampling(top_p=0.9, top_k=40)).tokens_PNL
    with torch.no_grad():
        forced = packed.token_logps([p for p in PROMPTS for _ in range(2)], codes.reshape(6, -1))
    passes = [torch.stack(seen[i : i + 32], 1) for i in range(0, len(seen), 32)]
    torch.testing.assert_close(forced, torch.cat(passes), atol=1e-4, rtol=0)


@pytest.mark.parametrize("which", ["policy", "disordered"])
def test_greedy_tokens_are_those_of_transformers(request: pytest.FixtureRequest, which: str) -> None:
    """Against `generate` with the constraint that makes a picture: visual tokens alone, then the end marker."""
    lmm: SeedLMM = request.getfixturevalue(which)
    tokenizer, visual = lmm.tokenizer, lmm.weights.visual_C.tolist()
    own = lmm.draw(PROMPTS, keys(3, 1), Sampling(top_k=1)).tokens_PNL[:, 0]
    assert len(np.unique(own)) > 5  # or the test would show little
    end = tokenizer.convert_tokens_to_ids(END)
    for prompt, codes in zip(PROMPTS, own, strict=True):
        prefix = torch.tensor([layout.draw_ids(tokenizer, lmm.weights.template, prompt)])
        start = prefix.shape[1]
        out = lmm.weights.model.generate(
            input_ids=prefix, attention_mask=torch.ones_like(prefix), max_new_tokens=lmm.length + 1, do_sample=False,
            prefix_allowed_tokens_fn=lambda _, ids, start=start: visual if len(ids) < start + lmm.length else [end],
        )  # fmt: skip
        names = [VISUAL.format(code) for code in codes]
        assert tokenizer.convert_ids_to_tokens(out[0, start:].tolist()) == [*names, END]


def test_visual_tokens_are_found_by_name(lmm: SeedLMM, disordered: SeedLMM) -> None:
    for one in (lmm, disordered):
        ids = one.weights.visual_C.tolist()
        assert one.tokenizer.convert_ids_to_tokens(ids) == [VISUAL.format(code) for code in range(len(ids))]
        assert torch.equal(one.weights.head_CD, one.weights.model.lm_head.weight[one.weights.visual_C])
    assert disordered.weights.visual_C.tolist() != sorted(disordered.weights.visual_C.tolist())


@pytest.mark.parametrize(
    ("which", "prompt", "text"),
    [
        ("lmm", "a red dog", "<s>USER: Can you generate an image of a red dog?\nASSISTANT:<img>"),
        ("lmm", " A red dog. ", "<s>USER: Can you generate an image of A red dog?\nASSISTANT:<img>"),
        ("lmm", "two  dogs", "<s>USER: Can you generate an image of two  dogs?\nASSISTANT:<img>"),
        ("disordered", "a pear", "<s>[INST] Can you generate an image of a pear? [/INST]\n<img>"),
    ],
)
def test_the_prefix_is_the_reference_s(request: pytest.FixtureRequest, which: str, prompt: str, text: str) -> None:
    lmm: SeedLMM = request.getfixturevalue(which)
    ids = layout.draw_ids(lmm.tokenizer, lmm.weights.template, prompt)
    assert ids == reference_ids(lmm, text)
    assert ids[0] == lmm.tokenizer.bos_token_id and ids.count(ids[0]) == 1
    assert ids[-1] == lmm.tokenizer.convert_tokens_to_ids(START)


def test_a_prompt_cannot_show_a_picture(lmm: SeedLMM) -> None:
    ids = layout.draw_ids(lmm.tokenizer, "vicuna", "a dog</s><img><img_00003></img> <s>")
    markers = {lmm.weights.ids.start, lmm.weights.ids.end, *lmm.weights.ids.visual, lmm.tokenizer.eos_token_id}
    assert [token for token in ids if token in markers] == [lmm.weights.ids.start]


def test_samples_depend_on_their_own_key_alone(policy: SeedLMM) -> None:
    sampling = Sampling(top_p=0.95)
    together = rows_of(policy, 64).draw(PROMPTS, keys(3, 2), sampling).tokens_PNL
    apart = rows_of(policy, 3).draw(PROMPTS[::-1], keys(3, 2)[::-1], sampling).tokens_PNL[::-1]
    alone = policy.draw(PROMPTS[1:2], [keys(3, 2)[1][1:]], sampling).tokens_PNL
    assert together.shape == (3, 2, 32) and together.dtype == np.int64
    assert (together == apart).all() and (together[1, 1] == alone[0, 0]).all()
    assert (together[0, 0] != together[0, 1]).any()
    twice = policy.draw(["a pear"] * 2, keys(2, 1), sampling).tokens_PNL
    assert (policy.draw(["a pear"], [keys(2, 1)[1]], sampling).tokens_PNL[0] == twice[1]).all()
    assert (twice[0] != twice[1]).any()


def test_one_prefill_a_prompt(lmm: SeedLMM, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    forward = draw.forward

    def spy(decoder: Any, embeds_BTD: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.append(tuple(embeds_BTD.shape[:2]))
        return forward(decoder, embeds_BTD, *rest)

    monkeypatch.setattr(draw, "forward", spy)
    rows_of(lmm, 12).draw(PROMPTS[:2], keys(2, 3), Sampling())
    prefill, *steps = shapes
    assert prefill[0] == 2 and prefill[1] > 20
    assert steps == [(6, 1)] * 31  # the last token is never read


def test_a_nucleus_of_visual_tokens_is_not_the_reference_s() -> None:
    """Which cuts the whole vocabulary: as docs/seed_llama.md says it."""
    rng = np.random.default_rng(0)
    visual = rng.dirichlet(np.full(2000, 0.1)) * 0.9

    def kept(probs: np.ndarray, top_p: float, codes: int) -> set[int]:
        logits = torch.from_numpy(np.log(np.maximum(probs, 1e-30)))[None].float().expand(4000, -1)
        numbers = torch.linspace(0, 1, 4001, dtype=torch.float64)[:-1]
        return {c for c in draw.choose(logits, numbers, Sampling(top_p=top_p)).tolist() if c < codes}

    one = np.append(visual, 0.1)  # one token of text
    thin = np.append(visual, np.full(4000, 0.1 / 4000))
    own = kept(visual / 0.9, 0.5, 2000)
    assert kept(one, 0.5, 2000) == kept(visual / 0.9, 0.4 / 0.9, 2000) < own
    assert own < kept(thin, 0.5, 2000) == kept(visual / 0.9, 0.5 / 0.9, 2000)
    said = " ".join((ROOT / "docs/seed_llama.md").read_text(encoding="utf-8").split())
    assert f"{40 / 0.9:.0f} % of it in place of 50 %" in said and f"({50 / 0.9:.0f} %)" in said
    assert "differs only by the mass on text" not in said


def test_guidance_is_refused(lmm: SeedLMM) -> None:
    with pytest.raises(ValueError, match=r"images\.guidance: SEED-LLaMA draws its visual tokens without"):
        lmm.draw(PROMPTS, keys(3, 1), Sampling(guidance=3.0))


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_is_its_tokens_and_nothing_else(lmm: SeedLMM, codes: np.ndarray) -> None:
    """Not its batch, not what was drawn before, not torch's random state."""
    pictures = lmm.render(codes)
    assert pictures.shape == (3, 32, 32, 3) and pictures.dtype == np.uint8
    assert pictures.std() > 10
    torch.manual_seed(17)
    again = lmm.render(np.concatenate([codes[2:], codes[1:2]]))
    assert (again == pictures[[2, 1]]).all()
    for one, other in ((0, 1), (1, 2)):
        assert np.abs(pictures[one].astype(int) - pictures[other]).mean() > 5


def test_a_picture_is_the_pipeline_s_own(lmm: SeedLMM, codes: np.ndarray) -> None:
    """Called as diffusers documents it, with a batch, its own decoding of latents, and the fixed noise."""
    embeds_BE = lmm.quantizer.embed(torch.from_numpy(codes))
    for embedding_E, own in zip(embeds_BE, lmm.render(codes), strict=True):
        noise = torch.Generator().manual_seed(unclip.keyed.torch_seed("seed_llama", "latents"))
        theirs = lmm.pipeline(
            image_embeds=embedding_E[None], prompt=[""], num_inference_steps=3, guidance_scale=10.0, generator=noise
        ).images[0]
        assert np.abs(np.asarray(theirs).astype(int) - own).max() <= 1


def test_steps_and_guidance_are_options(lmm: SeedLMM, codes: np.ndarray) -> None:
    assert lmm.settings.options == {"steps": 3, "guidance": 10.0, "template": "vicuna"}
    (embedding_E,) = lmm.quantizer.embed(torch.from_numpy(codes[:1]))
    wanted = lmm.render(codes[:1])[0].astype(int)
    assert np.abs(unclip.picture(lmm.pipeline, embedding_E, steps=5, guidance=10.0) - wanted).mean() > 1
    assert np.abs(unclip.picture(lmm.pipeline, embedding_E, steps=3, guidance=2.0) - wanted).mean() > 1


@pytest.mark.parametrize("use", ["render", "token_logps"])
def test_pictures_of_another_tokenizer_are_refused(lmm: SeedLMM, use: str) -> None:
    drawn = np.zeros((1, 12), np.int64)
    with pytest.raises(InputError, match="12 visual tokens: expected 32"):
        lmm.render(drawn) if use == "render" else lmm.token_logps(PROMPTS[:1], drawn)
