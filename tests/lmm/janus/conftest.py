"""A tiny Janus with random weights, adopted once; a policy whose LoRA is no longer zero."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from silmm import lmm as models
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.janus import tiny
from silmm.lmm.janus.lmm import JanusLMM

PROMPTS = ["a red apple on a wooden table", "two dogs", "a small blue glass vase to the left of a clock, near a window"]


def adopted(weights: Path, out: Path, *, dtype: str = "float32", rows: int = 4, seed: int = 0) -> Path:
    adopt("janus", {"model": weights}, out, rank=2, alpha=4, dtype=dtype, rows=rows, seed=seed)
    return out


def load(folder: Path) -> JanusLMM:
    lmm = models.load(folder)
    assert isinstance(lmm, JanusLMM)
    return lmm


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("janus") / "weights"
    tiny.build(folder)
    return folder


@pytest.fixture(scope="session")
def ckpt(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted(weights, tmp_path_factory.mktemp("janus") / "ckpt")


@pytest.fixture(scope="session")
def lmm(ckpt: Path) -> JanusLMM:
    """The base: its LoRA changes nothing. Whoever changes it must put it back."""
    return load(ckpt)


def stir(lmm: JanusLMM, size: float = 0.1, seed: int = 1) -> None:
    """What training does to LoRA: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in lmm.parameters():
            p += torch.randn(p.shape, generator=generator) * size


@pytest.fixture
def policy(lmm: JanusLMM) -> Iterator[JanusLMM]:
    """The LMM, with LoRA that changes much."""
    kept = [p.detach().clone() for p in lmm.parameters()]
    stir(lmm)
    yield lmm
    with torch.no_grad():
        for p, old in zip(lmm.parameters(), kept, strict=True):
            p.copy_(old)
            p.grad = None


@pytest.fixture
def codes(lmm: JanusLMM) -> np.ndarray:
    """Visual tokens of a picture for each prompt."""
    return np.random.default_rng(0).integers(0, tiny.CODES, (len(PROMPTS), lmm.length))


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Of three sizes and shapes."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((32, 32), (20, 45), (64, 40))]


def rows_of(lmm: JanusLMM, rows: int) -> JanusLMM:
    """The same LMM with other passes."""
    weights = lmm.weights._replace(text=lmm.weights.text._replace(rows=rows))
    return JanusLMM(weights, lmm.adapted, lmm.settings._replace(rows=rows))
