"""A tiny DreamLLM with random weights, adopted once; a policy whose LoRA is no longer zero."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from silmm import lmm as models
from silmm.lmm.dreamllm import tiny
from silmm.lmm.dreamllm.lmm import DreamLMM
from silmm.lmm.hf.checkpoint import adopt

PROMPTS = ["a red apple on a wooden table", "two dogs", "a small blue glass vase to the left of a clock, near a window"]


def adopted(weights: Path, out: Path, *, dtype: str = "float32", rows: int = 4, seed: int = 0, **options: Any) -> Path:
    folders = {"model": weights, "diffusion": weights / "sd"}
    options = {"steps": 3} | options
    adopt("dreamllm", folders, out, rank=2, alpha=4, dtype=dtype, rows=rows, seed=seed, options=options)
    return out


def load(folder: Path) -> DreamLMM:
    lmm = models.load(folder)
    assert isinstance(lmm, DreamLMM)
    return lmm


def keys(prompts: int = len(PROMPTS), samples: int = 2) -> list[list[tuple]]:
    return [[(0, "images", f"p{i}", k) for k in range(samples)] for i in range(prompts)]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("dreamllm") / "weights"
    tiny.build(folder)
    return folder


@pytest.fixture(scope="session")
def ckpt(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted(weights, tmp_path_factory.mktemp("dreamllm") / "ckpt")


@pytest.fixture(scope="session")
def lmm(ckpt: Path) -> DreamLMM:
    """The base: its LoRA changes nothing. Whoever changes it must put it back."""
    return load(ckpt)


def stir(lmm: DreamLMM, size: float = 0.1, seed: int = 1) -> None:
    """What training does to LoRA: B is no longer zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in lmm.parameters():
            p += torch.randn(p.shape, generator=generator) * size


@pytest.fixture
def policy(lmm: DreamLMM) -> Iterator[DreamLMM]:
    """The LMM, with LoRA that changes much."""
    kept = [p.detach().clone() for p in lmm.parameters()]
    stir(lmm)
    yield lmm
    with torch.no_grad():
        for p, old in zip(lmm.parameters(), kept, strict=True):
            p.copy_(old)
            p.grad = None


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Of three sizes and shapes."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((32, 32), (20, 45), (64, 40))]


def rows_of(lmm: DreamLMM, rows: int) -> DreamLMM:
    """The same LMM with other passes."""
    weights = lmm.weights._replace(text=lmm.weights.text._replace(rows=rows), read_painter=lambda: lmm.painter)
    return DreamLMM(weights, lmm.adapted, lmm.settings._replace(rows=rows))


def optioned(lmm: DreamLMM, **options: Any) -> DreamLMM:
    """The same LMM with other options."""
    weights = lmm.weights._replace(read_painter=lambda: lmm.painter)
    return DreamLMM(weights, lmm.adapted, lmm.settings._replace(options={**lmm.settings.options, **options}))
