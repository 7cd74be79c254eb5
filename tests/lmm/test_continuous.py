"""The continuous LMM: what DivDrop changes and what it does not, decoder noise, checkpoints, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from silmm import lmm as models
from silmm.errors import InputError
from silmm.kernels.divdrop import drop_mask, mask_key
from silmm.lmm.interface import LMM, ContinuousImages, DiscreteImages, Sampling
from silmm.lmm.shapeworld import flow, layout
from silmm.lmm.shapeworld.canonical import canonical_scene
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.shapeworld import exam, oracle
from silmm.shapeworld.language import units
from silmm.shapeworld.render import render

from .conftest import build_painter

PROMPTS = ["a red circle and a blue square", "two red squares and one blue circle", "a big circle with a small square"]
DIVERSE = Sampling(rate=0.4, layers=1, noise="constant")


def keys(prompts: int, samples: int) -> list[list[tuple]]:
    return [[(0, "images", 1, f"p{i}", k) for k in range(samples)] for i in range(prompts)]


@pytest.fixture(scope="module")
def painter() -> ContinuousLMM:
    torch.set_num_threads(1)
    return build_painter()


def test_is_an_lmm_of_continuous_images(painter: ContinuousLMM) -> None:
    assert isinstance(painter, LMM) and isinstance(painter, ContinuousImages)
    assert not isinstance(painter, DiscreteImages)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(rate=0.4, layers=0), Sampling(rate=0.0, layers=2)])
def test_without_dropout_drawing_is_the_plain_model(painter: ContinuousLMM, sampling: Sampling) -> None:
    feats = painter.draw(PROMPTS, keys(3, 2), sampling).feats_PNQD
    assert feats is not None and feats.shape == (3, 2, 4, 32)
    assert np.array_equal(feats[:, 0], feats[:, 1])
    with torch.no_grad():
        np.testing.assert_allclose(feats[:, 0], painter.features(PROMPTS).numpy(), atol=1e-5)


@pytest.mark.parametrize("site", ["hidden", "output"])
@pytest.mark.parametrize("positions", ["queries", "all"])
@pytest.mark.parametrize("layers", [1, 2])
def test_samples_depend_on_their_names_alone(painter: ContinuousLMM, site: str, positions: str, layers: int) -> None:
    sampling = Sampling(rate=0.3, layers=layers, site=site, positions=positions, noise="prompt")
    tokens, feats, _ = painter.draw(PROMPTS, keys(3, 4), sampling)
    assert feats is not None
    assert len(np.unique(feats.reshape(12, -1), axis=0)) == 12
    turned = [row[::-1] for row in keys(3, 4)[::-1]]
    tokens_turned, feats_turned, _ = painter.draw(PROMPTS[::-1], turned, sampling)
    assert feats_turned is not None
    np.testing.assert_array_equal(feats_turned[::-1, ::-1], feats)
    np.testing.assert_array_equal(tokens_turned[::-1, ::-1], tokens)
    alone = painter.draw(PROMPTS[1:2], [keys(3, 4)[1][2:3]], sampling).feats_PNQD
    assert alone is not None
    np.testing.assert_allclose(alone[0, 0], feats[1, 2], atol=1e-5)  # another number of samples: rounding


def test_what_no_mask_touches_runs_once(painter: ContinuousLMM) -> None:
    rows: list[int] = []
    gates = [layer.mlp.gate_proj for layer in painter.model.model.layers]
    hooks = [g.register_forward_pre_hook(lambda _, given: rows.append(given[0][..., 0].numel())) for g in gates]
    painter.draw(PROMPTS, keys(3, 5), DIVERSE._replace(layers=2))
    for hook in hooks:
        hook.remove()
    prompt, queries = 64 * layout.DRAW_PREFIX, 64 * 4  # 64 prompts a block
    assert rows == [
        queries,
        prompt,
        5 * queries,
    ]  # masks fan out after the first gate; the last layer's prompt is not used


def test_features_that_are_not_finite_are_refused(painter: ContinuousLMM) -> None:
    with torch.no_grad():
        kept = painter.queries.embedding[0, 0].item()
        painter.queries.embedding[0, 0] = float("nan")
    try:
        with pytest.raises(ValueError, match=r"features: expected finite numbers, given nan at \[0, 0, 0, 0\]"):
            painter.draw(PROMPTS, keys(3, 2), DIVERSE)
    finally:
        with torch.no_grad():
            painter.queries.embedding[0, 0] = kept


def test_decoder_noise_is_shared_as_named(painter: ContinuousLMM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painter.decoder, "sample", lambda feats, noise: (noise[..., 0] > 0).long())  # shows the noise
    same = [PROMPTS[0]] * 2
    drawn = {
        noise: painter.draw(same, keys(2, 2), Sampling(noise=noise)).tokens_PNL
        for noise in ("constant", "prompt", "free")
    }
    flat = {noise: len(np.unique(tokens.reshape(4, -1), axis=0)) for noise, tokens in drawn.items()}
    assert flat == {"constant": 1, "prompt": 2, "free": 4}
    several = painter.draw(same, keys(2, 2), Sampling(noise="prompt", noises=3)).tokens_PNL
    assert several.shape == (2, 6, 36)
    assert len(np.unique(several.reshape(12, -1), axis=0)) == 6  # three a prompt, the same for both samples
    np.testing.assert_array_equal(several[:, ::3], drawn["prompt"])  # the first one is as without more of them


def test_checkpoints_keep_every_weight(painter: ContinuousLMM, tmp_path: Path) -> None:
    painter.save(tmp_path)
    again = models.load(tmp_path)
    assert isinstance(again, ContinuousLMM)
    one, two = painter.draw(PROMPTS, keys(3, 2), DIVERSE), again.draw(PROMPTS, keys(3, 2), DIVERSE)
    np.testing.assert_array_equal(one.tokens_PNL, two.tokens_PNL)
    np.testing.assert_array_equal(one.feats_PNQD, two.feats_PNQD)
    (tmp_path / "flow_decoder.safetensors").unlink()
    with pytest.raises(InputError, match=r"flow_decoder.safetensors: no such file"):
        models.load(tmp_path)


def test_features_have_gradients_and_the_decoder_has_none(painter: ContinuousLMM) -> None:
    painter.features(PROMPTS).square().sum().backward()
    assert all(p.requires_grad for p in painter.parameters())
    assert painter.queries.embedding.grad is not None
    assert not {id(p) for p in painter.decoder.parameters()} & {id(p) for p in painter.parameters()}


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        (Sampling(rate=1.0, layers=1), "rate is 1.0: must be at least 0 and below 1"),
        (Sampling(rate=-0.1, layers=1), "rate is -0.1"),
        (Sampling(rate=0.1, layers=3), "layers is 3: must be 0 to 2"),
        (Sampling(rate=0.1, layers=1, site="input"), "site is 'input'"),
        (Sampling(rate=0.1, layers=1, positions="some"), "positions is 'some'"),
        (Sampling(noise="loud"), "noise is 'loud'"),
    ],
)
def test_bad_sampling_is_refused_by_name(painter: ContinuousLMM, sampling: Sampling, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        painter.draw(PROMPTS, keys(3, 1), sampling)


@pytest.mark.parametrize("site", ["hidden", "output"])
@pytest.mark.parametrize("positions", ["queries", "all"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_shared_trunk_changes_nothing(painter: ContinuousLMM, site: str, positions: str, layers: int) -> None:
    """One sample's masks, hooked into the model's own modules, give its features."""
    drawn = painter.draw(PROMPTS[:1], keys(1, 2), Sampling(rate=0.3, layers=layers, site=site, positions=positions))
    prefix = torch.from_numpy(layout.draw_prefix(painter.vocab, PROMPTS[:1]))
    places = torch.arange(layout.DRAW_PREFIX + 4) - int((prefix == painter.vocab.pad).sum())
    first = 0 if positions == "all" else layout.DRAW_PREFIX
    names = {"keys_P": torch.tensor([mask_key(*keys(1, 2)[0][1][:-1])]), "samples_N": torch.tensor([1])}
    handles = []
    for number, layer in list(enumerate(painter.model.model.layers))[-layers:]:
        down = layer.mlp.down_proj
        width = down.in_features if site == "hidden" else down.out_features
        kept = drop_mask(
            **names, positions_T=places.clamp(min=0), width=width, layer=number, site=site, rate=0.3
        )[0]  # fmt: skip
        mask = kept / (1 - round(0.3 * 65536) / 65536)
        mask[:, :first] = 1
        if site == "hidden":
            handles.append(down.register_forward_pre_hook(lambda _, given, mask=mask: (given[0] * mask,)))
        else:
            handles.append(down.register_forward_hook(lambda _, given, out, mask=mask: out * mask))
    with torch.no_grad():
        whole = painter.features(PROMPTS[:1])[0].numpy()
    for handle in handles:
        handle.remove()
    assert drawn.feats_PNQD is not None
    np.testing.assert_allclose(drawn.feats_PNQD[0, 1], whole, atol=5e-5)
    assert np.abs(drawn.feats_PNQD[0, 0] - whole).max() > 1e-2


def test_canonical_pictures_fulfil_their_prompts() -> None:
    tests = exam.prompts(320)
    scenes = oracle.read(render([canonical_scene(np.random.default_rng(0), t.spec) for t in tests]))
    assert all(oracle.judge(unit, scene) for t, scene in zip(tests, scenes, strict=True) for unit in units(t.spec))


def test_pictures_are_made_of_known_cells(painter: ContinuousLMM) -> None:
    codes = torch.from_numpy(painter.draw(PROMPTS, keys(3, 2), Sampling()).tokens_PNL.reshape(6, -1))
    cells = painter.decoder.cells_of(codes)
    assert cells.shape == (6, 9) and bool((cells >= 0).all())
    assert torch.equal(flow.unfold(painter.decoder.codes[cells]).squeeze(-1), codes)
    codes[0, 0] = 10**6  # no such code
    assert painter.decoder.cells_of(codes)[0].tolist()[0] == -100


def test_cells_hold_two_by_two_places() -> None:
    places = torch.arange(36.0).view(1, 36, 1).expand(2, 36, 3)
    cells = flow.fold(places)
    assert cells.shape == (2, 9, 12)
    assert cells[0, 4, ::3].tolist() == [14, 15, 20, 21]
    assert torch.equal(flow.unfold(cells), places)
