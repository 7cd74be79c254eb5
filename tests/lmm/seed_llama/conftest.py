"""A tiny SEED-LLaMA with random weights, adopted once; one of other sizes and ids; a policy whose LoRA is not zero."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from transformers import LlamaForCausalLM

from silmm import lmm as models
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.hf.lora import weights
from silmm.lmm.seed_llama import tiny
from silmm.lmm.seed_llama.lmm import SeedLMM
from silmm.lmm.seed_llama.names import END, START, VISUAL

PROMPTS = ["a red dog", "two old cats behind a very small wooden house.", "a pear"]  # of different lengths
ROLES = ("llm", "visual", "diffusion")
OPTIONS = {"template": "vicuna", "steps": 3}


def make(folder: Path, out: Path, *, options: dict[str, Any] = OPTIONS, **changes: Any) -> Path:
    """Adopt, with settings that fit the tiny one. `folder`: that holds the three."""
    given = {"rank": 4, "alpha": 8, "dtype": "float32", "rows": 4, "seed": 0} | changes
    adopt("seed_llama", {role: folder / role for role in ROLES}, out, options=options, **given)
    return out


def load(folder: Path) -> SeedLMM:
    lmm = models.load(folder)
    assert isinstance(lmm, SeedLMM)
    return lmm


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("seed_llama") / "weights"
    tiny.build(out)
    return out


@pytest.fixture(scope="session")
def ckpt(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(folder, tmp_path_factory.mktemp("seed_llama") / "ckpt")


@pytest.fixture(scope="session")
def lmm(ckpt: Path) -> SeedLMM:
    """The base: its LoRA changes nothing. Whoever changes it must put it back."""
    return load(ckpt)


@pytest.fixture(scope="session")
def disordered(tmp_path_factory: pytest.TempPathFactory) -> SeedLMM:
    """Twelve visual tokens a picture, with ids in a random order, and the words of the 14B model."""
    root = tmp_path_factory.mktemp("disordered")
    sizes = tiny.SIZES._replace(queries=12, codes=40)
    names = [*map(VISUAL.format, range(sizes.codes)), START, END]
    tiny.build(root / "weights", seed=1, sizes=sizes, added=np.random.default_rng(0).permutation(names).tolist())
    return load(make(root / "weights", root / "ckpt", options=OPTIONS | {"template": "llama2"}))


@pytest.fixture(scope="session")
def plain(folder: Path) -> Any:
    """The same language model in transformers' own hands, without LoRA."""
    return LlamaForCausalLM.from_pretrained(folder / "llm").eval()


@pytest.fixture
def policy(lmm: SeedLMM) -> Iterator[SeedLMM]:
    """The LMM, with LoRA that changes much."""
    kept = [p.detach().clone() for p in lmm.parameters()]
    noise = np.random.default_rng(1)
    with torch.no_grad():
        for name, weight in weights(lmm.adapted).items():
            if ".lora_B." in name:
                weight.copy_(torch.from_numpy(noise.normal(0, 0.1, tuple(weight.shape))))
    yield lmm
    with torch.no_grad():
        for p, old in zip(lmm.parameters(), kept, strict=True):
            p.copy_(old)
            p.grad = None


@pytest.fixture
def codes(lmm: SeedLMM) -> np.ndarray:
    """Visual tokens of a picture for each prompt."""
    return np.random.default_rng(0).integers(0, len(lmm.weights.visual_C), (len(PROMPTS), lmm.length))


@pytest.fixture
def pictures() -> list[np.ndarray]:
    """Of three sizes and shapes."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((42, 42), (20, 45), (64, 40))]


def keys(prompts: int, samples: int) -> list[list[tuple]]:
    return [[("test", p, k) for k in range(samples)] for p in range(prompts)]


def reference_ids(lmm: SeedLMM, text: str) -> list[int]:
    """Ids of a text as transformers 4.30.2 gives them, by sentencepiece alone: tokens of added_tokens.json split it,
    text beside them is stripped, and each piece of text is read apart."""
    folder = lmm.settings.weights["visual"]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    added = json.loads((folder / "added_tokens.json").read_text())
    chunks = [chunk for chunk in re.split(r"(<s>|</?img>|<img_\d{5}>)", text) if chunk]
    out = []
    for i, chunk in enumerate(chunks):
        if chunk == "<s>" or chunk in added:
            out.append(pieces.bos_id() if chunk == "<s>" else added[chunk])
            continue
        chunk = chunk.lstrip() if i and chunks[i - 1] in added else chunk
        chunk = chunk.rstrip() if chunks[i + 1 : i + 2] and chunks[i + 1] in added else chunk
        out += pieces.encode(chunk)
    return out


def rows_of(lmm: SeedLMM, rows: int) -> SeedLMM:
    """The same LMM with other passes."""
    made = SeedLMM(
        lmm.weights._replace(text=lmm.weights.text._replace(rows=rows)), lmm.adapted, lmm.settings._replace(rows=rows)
    )
    made.quantizer, made.pipeline = lmm.quantizer, lmm.pipeline  # as they are loaded
    return made
