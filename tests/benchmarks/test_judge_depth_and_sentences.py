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
    """T2I-CompBench++'s way: 480 x 480 by Pillow's bilinear filter, back with the corners in place. The first fusion
    layer's unused weights, which no published file has, are drawn anew on each load."""
    from transformers import DPTForDepthEstimation

    judge = load("depth", str(folders["dpt"]))
    model = DPTForDepthEstimation.from_pretrained(folders["dpt"]).eval()
    model.dpt.embeddings.image_size = (480, 480)
    sizes = [(48, 64, 3), (100, 90, 3)]
    pictures = [np.random.default_rng(k).integers(0, 256, size).astype(np.uint8) for k, size in enumerate(sizes)]
    for picture, found in zip(pictures, judge.depth(pictures), strict=True):
        small = np.asarray(Image.fromarray(picture).resize((480, 480), Image.Resampling.BILINEAR))
        pixel_values = torch.from_numpy((small / 255 - 0.5) / 0.5).float().permute(2, 0, 1)[None]
        plain = model(pixel_values=pixel_values).predicted_depth[:, None]
        assert plain.shape[2:] == (480, 480)
        (wanted,) = torch.nn.functional.interpolate(plain, picture.shape[:2], mode="bilinear", align_corners=True)[0]
        assert found.dtype == np.float32 and found.shape == picture.shape[:2] and found.std() > 0
        assert found == pytest.approx(wanted.numpy(), rel=1e-4, abs=1e-2)
    assert judge.card[:3] == ("depth", "dpt", "dpt") and judge.card.resolution == "480x480"


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
