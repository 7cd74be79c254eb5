"""Drawing: the same distribution as teacher forcing and as transformers' own `generate`, and nothing beside visual
tokens is ever chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import Emu3Processor

from silmm.lmm.emu3 import draw, layout
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.emu3.weights import Emu3Weights
from silmm.lmm.interface import DiscreteImages, Sampling
from tests.lmm.emu3.conftest import PROMPTS, keys, nudged

W = 4  # visual tokens a line


def test_is_a_discrete_lmm_of_the_open_world(lmm: Emu3LMM) -> None:
    assert isinstance(lmm, DiscreteImages)
    assert (lmm.world, lmm.images, lmm.length) == ("open", "discrete", W * W)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("rows", [1, 5, 64])
def test_teacher_forced_logps_are_those_of_the_generation(
    lmm: Emu3LMM, monkeypatch: pytest.MonkeyPatch, guidance: float, rows: int
) -> None:
    """Guidance changes what is chosen; the conditional log-probs of what was chosen are the policy's all the same."""
    seen: list[torch.Tensor] = []
    guide, choose, given = draw.guide, draw.choose, []

    def spy_guide(hidden_BD: torch.Tensor, strength: float) -> torch.Tensor:
        given.append((hidden_BD @ lmm.gen.head_CD.T).log_softmax(-1))
        return guide(hidden_BD, strength)

    def spy_choose(*args: Any) -> torch.Tensor:
        codes = choose(*args)
        seen.append(given[-1][: len(codes)].gather(1, codes[:, None])[:, 0])
        return codes

    monkeypatch.setattr(draw, "guide", spy_guide)
    monkeypatch.setattr(draw, "choose", spy_choose)
    gen = with_rows(lmm.gen, rows)
    with nudged(lmm), torch.no_grad():
        codes = draw.draw(gen, PROMPTS, keys(3, 2), Sampling(guidance=guidance, top_k=40, top_p=0.95), lmm.side)
        forced = draw.token_logps(gen, [p for p in PROMPTS for _ in range(2)], codes.reshape(6, -1), lmm.side)
    passes = [torch.stack(seen[i : i + W * W], 1) for i in range(0, len(seen), W * W)]
    torch.testing.assert_close(forced, torch.cat(passes), atol=1e-4, rtol=0)


@pytest.mark.parametrize("which", ["lmm", "disordered"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_greedy_tokens_and_pixels_are_those_of_transformers(
    request: pytest.FixtureRequest, which: str, guidance: float
) -> None:
    """Against `generate` with its guidance, negative prompt and prefix constraint; no id is written down anywhere."""
    lmm: Emu3LMM = request.getfixturevalue(which)
    with nudged(lmm):
        own = lmm.draw(PROMPTS, keys(3, 1), Sampling(guidance=guidance, top_k=1)).tokens_PNL[:, 0]
        theirs = by_generate(lmm.gen.model, lmm.gen.processor, PROMPTS, guidance)
    assert (lmm.gen.visual_C[own] == without_markers(theirs)).all()
    assert len(np.unique(own)) > 5  # or the test would show little
    pixels = lmm.gen.model.decode_image_tokens(image_tokens=theirs, height=W, width=W)
    pictures = lmm.gen.processor.postprocess(list(pixels), return_tensors="PIL.Image.Image")["pixel_values"]
    assert np.abs(lmm.render(own).astype(int) - np.stack([np.asarray(p) for p in pictures])).max() <= 1


def without_markers(ids_BT: torch.Tensor) -> torch.Tensor:
    """Visual tokens of what `generate` made, without ends of lines and the three markers behind."""
    return ids_BT[:, :-3].reshape(-1, W, W + 1)[:, :, :-1].flatten(1)


def by_generate(model: Any, processor: Emu3Processor, prompts: list[str], guidance: float) -> torch.Tensor:
    """Greedy ids `[B, (W + 1) W + 3]`, as transformers' documentation draws, with the header for the negative prompt,
    too."""
    header = {"return_for_image_generation": True, "ratio": "1:1", "image_area": (8 * W) ** 2}
    given = processor(text=[layout.caption(processor, p) for p in prompts], padding=True, return_tensors="pt", **header)
    negative = processor(text=[layout.NEGATIVE] * len(prompts), return_tensors="pt", **header)
    tokenizer, visual = processor.tokenizer, model.vocabulary_mapping.image_tokens
    start = given.input_ids.shape[1]
    ends = [tokenizer.eof_token_id, tokenizer.eoi_token_id, tokenizer.eos_token_id]

    def allowed(row: int, ids: torch.Tensor) -> list[int]:
        place = len(ids) - start
        if place >= W * (W + 1):
            return [ends[place - W * (W + 1)]]
        return [tokenizer.convert_tokens_to_ids("<|extra_200|>")] if place % (W + 1) == W else visual

    guide: dict[str, Any] = {}
    if guidance != 1.0:
        guide = {"guidance_scale": guidance, "negative_prompt_ids": negative.input_ids}
        guide["negative_prompt_attention_mask"] = negative.attention_mask
    out = model.generate(
        input_ids=given.input_ids, attention_mask=given.attention_mask, max_new_tokens=W * (W + 1) + 3,
        do_sample=False, prefix_allowed_tokens_fn=allowed, **guide,
    )  # fmt: skip
    return out[:, start:]


def test_samples_depend_on_their_own_key_alone(lmm: Emu3LMM) -> None:
    sampling = Sampling(guidance=2.0, top_p=0.95)
    together = draw.draw(with_rows(lmm.gen, 64), PROMPTS, keys(3, 2), sampling, lmm.side)
    apart = draw.draw(with_rows(lmm.gen, 3), PROMPTS[::-1], keys(3, 2)[::-1], sampling, lmm.side)[::-1]
    alone = lmm.draw(PROMPTS[1:2], [keys(3, 2)[1][1:]], sampling).tokens_PNL
    assert together.shape == (3, 2, W * W) and together.dtype == np.int64
    assert (together == apart).all() and (together[1, 1] == alone[0, 0]).all()
    assert (together[0, 0] != together[0, 1]).any()


def test_the_same_prompt_twice_has_its_own_samples(lmm: Emu3LMM) -> None:
    twice = lmm.draw(["a pear"] * 2, keys(2, 1), Sampling()).tokens_PNL
    again = lmm.draw(["a pear"], [keys(2, 1)[1]], Sampling()).tokens_PNL
    assert (twice[1] == again[0]).all() and (twice[0] != twice[1]).any()


def test_layout_of_a_picture() -> None:
    ids = torch.arange(100, 100 + 2 * 9).reshape(2, 9)
    laid = layout.picture_ids(ids, -7, 3)
    assert laid.tolist()[0] == [100, 101, 102, -7, 103, 104, 105, -7, 106, 107, 108, -7]
    assert (laid[:, layout.places(3)] == ids).all()


def test_the_prefix_is_the_caption_and_the_header(lmm: Emu3LMM) -> None:
    tokenizer = lmm.gen.processor.tokenizer
    own = layout.draw_prefixes(lmm.gen.processor, ["a pear", "two pears."], 32, negative=True)
    texts = [f"a pear{layout.POSITIVE}", f"two pears.{layout.POSITIVE}", layout.NEGATIVE]
    header = f"{tokenizer.boi_token}4*4{tokenizer.image_wrapper_token}"
    named = [f"{tokenizer.bos_token}{text}{header}" for text in texts]
    assert own == [tokenizer.encode(text, add_special_tokens=False) for text in named]


def test_one_prefill_a_prompt(lmm: Emu3LMM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts are read once for all their samples of a pass, and so is the negative prompt."""
    shapes: list[tuple[int, ...]] = []
    forward = draw.forward

    def spy(decoder: Any, embeds_BTD: torch.Tensor, *rest: Any) -> torch.Tensor:
        shapes.append(tuple(embeds_BTD.shape[:2]))
        return forward(decoder, embeds_BTD, *rest)

    monkeypatch.setattr(draw, "forward", spy)
    draw.draw(with_rows(lmm.gen, 12), PROMPTS[:2], keys(2, 3), Sampling(guidance=2.0), lmm.side)
    prefill, *steps = shapes
    assert prefill[0] == 3 and prefill[1] > 20
    assert steps == [(12, 1)] * (W * (W + 1) - 2)


def test_whole_logits_are_never_made(lmm: Emu3LMM) -> None:
    """8193 positions of 184622 logits would be 6 GB."""

    def refuse(*_: Any) -> None:
        raise AssertionError("the whole head was used")

    handle = lmm.gen.model.lm_head.register_forward_pre_hook(refuse)
    try:
        codes = lmm.draw(PROMPTS, keys(3, 1), Sampling(guidance=2.0)).tokens_PNL[:, 0]
        lmm.token_logps(PROMPTS, codes).sum().backward()
    finally:
        handle.remove()
        lmm.adapted.zero_grad()


def test_pictures(lmm: Emu3LMM) -> None:
    codes = np.random.default_rng(0).integers(0, 64, (3, W * W))
    pictures = lmm.render(codes)
    assert pictures.shape == (3, 32, 32, 3) and pictures.dtype == np.uint8
    assert pictures.std() > 10 and (pictures[0] != pictures[1]).any()
    assert (lmm.render(codes[1:2])[0] == pictures[1]).all()


def with_rows(weights: Emu3Weights, rows: int) -> Emu3Weights:
    return weights._replace(text=weights.text._replace(rows=rows))
