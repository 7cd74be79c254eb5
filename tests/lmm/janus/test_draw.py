"""Drawing is transformers' own where that works, teacher forcing is drawing, and nothing depends on the batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from silmm import cli
from silmm.lmm.interface import Sampling
from silmm.lmm.janus import draw, layout
from silmm.lmm.janus.lmm import JanusLMM
from silmm.records import Prompt, write_jsonl

from .conftest import PROMPTS, rows_of

KEYS = [[(0, "draw", p, k) for k in range(3)] for p in range(len(PROMPTS))]


@pytest.mark.parametrize("guidance", [5.0, 1.0])
def test_greedy_is_transformers_own(policy: JanusLMM, guidance: float) -> None:
    processor, model = policy.weights.processor, policy.weights.model
    texts = [layout.conversation(processor, prompt) for prompt in PROMPTS]
    inputs = processor(text=texts, generation_mode="image", padding=True, padding_side="left", return_tensors="pt")
    wanted = model.generate(
        **inputs,
        generation_mode="image",
        do_sample=False,
        guidance_scale=max(guidance, 1.000001),  # at 1 it fails
    )
    found = policy.draw(PROMPTS, [[(0,)]] * 3, Sampling(top_p=0.0, guidance=guidance)).tokens_PNL
    assert found.dtype == np.int64 and found.shape == (3, 1, policy.length)
    np.testing.assert_array_equal(found[:, 0], wanted.numpy())
    assert len(np.unique(found)) > 5


def plain_logits(lmm: JanusLMM, ids: list[int], codes_L: Tensor) -> Tensor:
    """Logits `[L, codes]` of one row, without padding or cache."""
    model = lmm.weights.model
    words = model.get_input_embeddings()(torch.tensor([ids]))
    read = model.prepare_embeddings_for_image_generation(codes_L[None, :-1])
    hidden = model.model.language_model(inputs_embeds=torch.cat([words, read], 1)).last_hidden_state
    return model.model.generation_head(hidden[0, len(ids) - 1 :])


@torch.no_grad()
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_teacher_forcing_is_drawing(policy: JanusLMM, guidance: float) -> None:
    prefixes = [layout.draw_ids(policy.weights.processor, prompt) for prompt in PROMPTS]
    rows = [0, 0, 1, 2]
    numbers = torch.rand(len(rows), policy.length, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    choose, steps = draw.sampler(numbers, Sampling()), []

    def remember(step: int, logits_SC: Tensor) -> Tensor:
        steps.append(logits_SC)
        return choose(step, logits_SC)

    codes = draw.draw_pass(policy.weights, prefixes, rows, guidance, remember)
    drawn_SLC = torch.stack(steps, 1)
    forced_SL = policy.token_logps([PROMPTS[row] for row in rows], codes.numpy())
    assert forced_SL.dtype == torch.float32 and forced_SL.shape == (4, policy.length)
    for i, row in enumerate(rows):
        given = plain_logits(policy, prefixes[row], codes[i])
        free = plain_logits(
            policy, layout.unconditional(policy.weights.processor, prefixes[row], policy.weights.blank), codes[i]
        )
        torch.testing.assert_close(drawn_SLC[i], free + guidance * (given - free), atol=1e-4, rtol=0)
        own = given.log_softmax(-1).gather(1, codes[i][:, None])[:, 0]
        torch.testing.assert_close(forced_SL[i], own, atol=1e-4, rtol=0)
        if guidance == 1.0:
            generated = drawn_SLC[i].log_softmax(-1).gather(1, codes[i][:, None])[:, 0]
            torch.testing.assert_close(forced_SL[i], generated, atol=1e-4, rtol=0)


def test_the_branch_without_a_prompt(lmm: JanusLMM) -> None:
    processor = lmm.weights.processor
    ids = layout.draw_ids(processor, PROMPTS[0])
    tokens = processor.tokenizer.convert_ids_to_tokens(layout.unconditional(processor, ids, lmm.weights.blank))
    tokenizer = processor.tokenizer
    assert tokens == [tokenizer.bos_token, *[tokenizer.pad_token] * (len(ids) - 2), processor.image_start_token]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_samples_do_not_depend_on_their_batch(policy: JanusLMM, guidance: float) -> None:
    sampling = Sampling(temperature=0.9, top_p=0.95, top_k=40, guidance=guidance)
    wanted = policy.draw(PROMPTS, KEYS, sampling).tokens_PNL
    for rows in (1, 5):
        np.testing.assert_array_equal(rows_of(policy, rows).draw(PROMPTS, KEYS, sampling).tokens_PNL, wanted)
    turned = policy.draw(PROMPTS[::-1], [row[::-1] for row in KEYS[::-1]], sampling).tokens_PNL
    np.testing.assert_array_equal(turned[::-1, ::-1], wanted)
    one = policy.draw(PROMPTS[1:2], [KEYS[1][2:]], sampling).tokens_PNL
    np.testing.assert_array_equal(one[0, 0], wanted[1, 2])
    assert len(np.unique(wanted.reshape(9, -1), axis=0)) == 9


def test_log_probs_do_not_depend_on_their_batch(policy: JanusLMM, codes: np.ndarray) -> None:
    with torch.no_grad():
        wanted = policy.token_logps(PROMPTS, codes)
        for rows in (1, 2, 8):
            found = rows_of(policy, rows).token_logps(PROMPTS[::-1], codes[::-1]).flip(0)
            torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert wanted.std() > 0.1


def test_guidance_and_top_k_matter(policy: JanusLMM) -> None:
    draws = [
        policy.draw(PROMPTS, KEYS, sampling).tokens_PNL
        for sampling in (Sampling(), Sampling(guidance=5.0), Sampling(top_k=1), Sampling(top_p=0.0))
    ]
    assert (draws[0] != draws[1]).any() and (draws[0] != draws[2]).any()
    np.testing.assert_array_equal(draws[2], draws[3])  # the likeliest, both ways


def test_rendering_is_the_processors(lmm: JanusLMM, codes: np.ndarray) -> None:
    found = lmm.render(codes)
    assert found.dtype == np.uint8 and found.shape == (3, 32, 32, 3) and found.std() > 1
    with torch.no_grad():
        pixels = lmm.weights.model.decode_image_tokens(torch.from_numpy(codes)).permute(0, 3, 1, 2)
    wanted = lmm.weights.processor.postprocess(list(pixels), return_tensors="PIL.Image.Image")["pixel_values"]
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(one.astype(int) - np.asarray(other).astype(int)).max() <= 1
    assert np.abs(rows_of(lmm, 1).render(codes).astype(int) - found.astype(int)).max() <= 1


def test_prompts_cannot_open_a_picture(lmm: JanusLMM) -> None:
    processor = lmm.weights.processor
    assert layout.draw_ids(processor, "a<begin_of_image>b<end_of_image>") == layout.draw_ids(processor, "a b ")


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command sets for its process ends with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.usefixtures("own_process")
def test_without_options_it_draws_as_its_authors_do(
    ckpt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`silmm draw` and `silmm images` by hand; the first says how."""
    told = ["--temperature", "1.0", "--top-p", "1.0", "--top-k", "0", "--guidance", "5.0"]
    for name, options in (("own", []), ("told", told), ("plain", ["--guidance", "1.0"])):
        words = ["draw", "two dogs", "--ckpt", str(ckpt), "--n", "2", "--out", str(tmp_path / name), *options]
        assert cli.main(words) == 0
        strength = "1.0" if name == "plain" else "5.0"
        said = f"sampling: --temperature 1.0 --top-p 1.0 --top-k 0 --guidance {strength}"
        assert said in capsys.readouterr().out.splitlines()
    own, same, plain = ((tmp_path / name / "sample_0.png").read_bytes() for name in ("own", "told", "plain"))
    assert own == same != plain
    prompts = tmp_path / "prompts.jsonl"
    write_jsonl(prompts, [Prompt("p0", "complex", "complex", "two dogs", 1)])
    for name, options in (("images", []), ("images_told", told)):
        words = ["images", "--ckpt", str(ckpt), "--prompts", str(prompts), "--iteration", "1", "--n", "2", *options]
        assert cli.main([*words, "--out", str(tmp_path / name)]) == 0
    files = [tmp_path / name / "representations.safetensors" for name in ("images", "images_told")]
    assert files[0].read_bytes() == files[1].read_bytes()
