"""The decoder's range: measured as defined, kept by checkpoints, asked for where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import RangedFeatures
from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain_continuous as painting
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.feature_range import SHRINK, FeatureRange
from silmm.settings import Pretrain

from .conftest import build

Q, D, N = 3, 5, 400


def normal(scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Features `[N, Q, D]` with other variances in every direction, around other means in every query."""
    g = torch.Generator().manual_seed(seed)
    stretch = torch.randn(Q, D, D, generator=g)
    around = torch.arange(Q * D).view(Q, D)
    return scale * torch.einsum("nqd,qde->nqe", torch.randn(N, Q, D, generator=g), stretch) + around


def measured() -> FeatureRange:
    found = FeatureRange(Q, D)
    found.measure(normal())
    return found


def test_the_distance_is_the_written_out_one() -> None:
    feats, other = normal(), normal(seed=1)[7]
    squares, dimensions = 0.0, 0.0
    for q in range(Q):
        covariance = np.cov(feats[:, q].double().numpy().T, bias=True)
        shrunk = covariance + SHRINK * np.trace(covariance) / D * np.eye(D)
        off = other[q].double().numpy() - feats[:, q].double().numpy().mean(0)
        squares += off @ np.linalg.solve(shrunk, off)
        dimensions += np.trace(np.linalg.solve(shrunk, covariance))
    assert measured().distance(other[None]).item() == pytest.approx(squares / dimensions, rel=1e-5)


def test_one_is_like_in_training_and_twice_as_wide_is_four() -> None:
    found = measured()
    assert found.distance(normal()).mean().item() == pytest.approx(1, rel=1e-5)
    center = normal().mean(0)
    assert found.distance(2 * (normal() - center) + center).mean().item() == pytest.approx(4, rel=1e-4)
    assert found.distance(center[None]).item() == pytest.approx(0, abs=1e-6)


def test_a_direction_that_training_did_not_use_is_far_away_but_not_infinitely() -> None:
    flat = normal()
    flat[..., 0] = 0
    found = FeatureRange(Q, D)
    found.measure(flat)
    assert found.distance(flat).mean().item() == pytest.approx(1, rel=1e-5)
    flat[..., 0] = flat.std()
    assert 2 < found.distance(flat).mean().item() < 100


@pytest.fixture(scope="module")
def painter() -> ContinuousLMM:
    torch.set_num_threads(1)
    return painting.new_painter(build(), Pretrain(queries=4, blocks=1, heads=2), data.spec_pool(0, 64), 0)


def test_pretraining_measures_its_own_captions(painter: ContinuousLMM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(painting, "RANGE_CAPTIONS", 128)
    seen: list[str] = []
    features = painter.features
    monkeypatch.setattr(painter, "features", lambda prompts: features(seen.extend(prompts) or prompts))
    painting.measure_range(painter, data.spec_pool(0, 64), 0)
    assert len(seen) == 128
    assert isinstance(painter, RangedFeatures)
    with torch.no_grad():
        own = painter.feature_range(features(seen).numpy())
    assert own.shape == (128,) and own.mean() == pytest.approx(1, rel=1e-4)
    rolled = painter.feature_range(features(seen).detach().roll(1, 1).numpy())
    assert rolled.mean() > 1.5  # the range is each query's own


def test_checkpoints_keep_the_range_and_are_refused_without(painter: ContinuousLMM, tmp_path: Path) -> None:
    painter.decoder.range.measure(normal().repeat(1, 2, 8)[:, :4, :32])
    painter.save(tmp_path)
    again = models.load(tmp_path)
    assert isinstance(again, ContinuousLMM)
    assert torch.equal(again.decoder.range.mean, painter.decoder.range.mean)
    assert torch.equal(again.decoder.range.covariance, painter.decoder.range.covariance)
    file = tmp_path / "flow_decoder.safetensors"
    save_file({k: v for k, v in load_file(file).items() if not k.startswith("range.")}, file)
    with pytest.raises(InputError, match=r"flow_decoder.*range.mean is missing.*re-run silmm pretrain") as refused:
        models.load(tmp_path)
    assert "\n" not in str(refused.value)
