"""Depths and embeddings are those that transformers alone gives, for one picture and one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.benchmarks.judges import mpnet
from silmm.benchmarks.judges.load import load
from silmm.benchmarks.judges.tiny import build

pytestmark = pytest.mark.xdist_group("judges")
TEXTS = ["a dog", "two cats on a wooden table near the window", "red", "a photo of a bird " * 40]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("judges")
    return {kind: build(kind, root / kind) for kind in ("dpt", "mpnet")}


@torch.no_grad()
def test_depth_as_transformers_alone(folders: dict[str, Path]) -> None:
    """The first fusion layer's unused weights, which no published file has, are drawn anew on each load."""
    from transformers import DPTForDepthEstimation, DPTImageProcessorPil

    judge = load("depth", str(folders["dpt"]))
    model = DPTForDepthEstimation.from_pretrained(folders["dpt"]).eval()
    processor = DPTImageProcessorPil.from_pretrained(folders["dpt"])
    sizes = [(48, 64, 3), (100, 90, 3)]
    pictures = [np.random.default_rng(k).integers(0, 256, size).astype(np.uint8) for k, size in enumerate(sizes)]
    for picture, found in zip(pictures, judge.depth(pictures), strict=True):
        outputs = model(**processor(images=Image.fromarray(picture), return_tensors="pt"))
        (plain,) = processor.post_process_depth_estimation(outputs, target_sizes=[picture.shape[:2]])
        assert found.dtype == np.float32 and found.shape == picture.shape[:2] and found.std() > 0
        assert found == pytest.approx(plain["predicted_depth"].numpy(), rel=1e-4, abs=1e-3)
    assert judge.card[:3] == ("depth", "dpt", "dpt") and judge.card.resolution == "64x64"


@torch.no_grad()
def test_sentences_as_transformers_alone(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer, MPNetModel

    judge = load("sentences", str(folders["mpnet"]))
    model = MPNetModel.from_pretrained(folders["mpnet"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(folders["mpnet"])
    found = judge.embed(TEXTS)
    assert found.dtype == np.float32 and found.shape == (4, 32) and judge.embed([]).shape == (0, 32)
    for text, row in zip(TEXTS, found, strict=True):
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=64).input_ids
        mean = model(input_ids=ids).last_hidden_state[0].mean(0)
        assert row == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)
    monkeypatch.setattr(mpnet, "TEXTS", 1)
    assert judge.embed(TEXTS) == pytest.approx(found, abs=1e-5)
