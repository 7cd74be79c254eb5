"""Tiny Emu3 checkpoints, built once: two sets of random weights, as published, and one with ids in another order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Emu3ForConditionalGeneration

from silmm.lmm.emu3 import checkpoint, tiny
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.hf.lora import weights

PROMPTS = ["a red dog", "two old cats behind a very small wooden house", "a pear"]  # of different lengths


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("emu3")
    roles = {"gen": root / "gen", "chat": root / "chat"}
    for seed, folder in enumerate(roles.values()):
        tiny.build(folder, seed=seed)
    return roles


@pytest.fixture(scope="session")
def adopted(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh checkpoint."""
    return make(folders, tmp_path_factory.mktemp("adopted") / "ckpt")


@pytest.fixture(scope="session")
def lmm(adopted: Path) -> Emu3LMM:
    """LoRA at zero; tests leave it so (`nudged`)."""
    return checkpoint.load(adopted)


@pytest.fixture(scope="session")
def disordered(tmp_path_factory: pytest.TempPathFactory) -> Emu3LMM:
    """One set of weights for both roles, whose special tokens have their ids in a random order."""
    root = tmp_path_factory.mktemp("disordered")
    names = np.random.default_rng(0).permutation(tiny.SPECIALS).tolist()
    tiny.build(root / "weights", seed=2, specials=names)
    return checkpoint.load(make({"gen": root / "weights", "chat": root / "weights"}, root / "ckpt"))


@pytest.fixture(scope="session")
def plain(folders: dict[str, Path]) -> dict[str, Any]:
    """The same weights in transformers' own hands, without LoRA."""
    return {role: Emu3ForConditionalGeneration.from_pretrained(path).eval() for role, path in folders.items()}


def make(folders: dict[str, Path], out: Path, **changes: Any) -> Path:
    """Adopt, with settings that fit the tiny ones."""
    adopt("emu3", folders, out, **({"rank": 4, "alpha": 8, "dtype": "float32", "rows": 4, "seed": 0} | changes))
    return out


def keys(prompts: int, samples: int) -> list[list[tuple]]:
    return [[("test", p, k) for k in range(samples)] for p in range(prompts)]


@contextmanager
def nudged(lmm: Emu3LMM) -> Iterator[None]:
    """Inside, the policy is not its base: LoRA's B is not zero."""
    kept = [p.detach().clone() for p in lmm.parameters()]
    noise = np.random.default_rng(1)
    with torch.no_grad():
        for name, weight in weights(lmm.adapted).items():
            if ".lora_B." in name:
                weight.copy_(torch.from_numpy(noise.normal(0, 0.1, tuple(weight.shape))))
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(lmm.parameters(), kept, strict=True):
                p.copy_(old)
                p.grad = None
