"""CLIP's cosines are those that transformers alone gives, for one picture and one text at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.benchmarks.judges import clip
from silmm.benchmarks.judges.clip import Clip
from silmm.benchmarks.judges.load import load
from silmm.benchmarks.judges.tiny import build

pytestmark = pytest.mark.xdist_group("judges")
TEXTS = (("a red dog", "two cats near a clock"), ("a red dog",), ("a vase on a table", "a photo of a bird", "cup"))
PICTURES = [
    np.random.default_rng(k).integers(0, 256, size).astype(np.uint8)
    for k, size in enumerate([(48, 64, 3), (100, 90, 3), (32, 32, 3)])
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("clip", tmp_path_factory.mktemp("judges") / "clip")


@pytest.fixture(scope="module")
def judge(folder: Path) -> Clip:
    return load("clip", str(folder))


@torch.no_grad()
def test_as_transformers_alone(folder: Path, judge: Clip) -> None:
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    by_hand = [((42, 32), (5, 0, 37, 32)), ((32, 35), (0, 2, 32, 34)), ((32, 32), (0, 0, 32, 32))]
    compared = judge.compare(PICTURES, TEXTS)
    for picture, texts, found, (resized, corners) in zip(PICTURES, TEXTS, compared, by_hand, strict=True):
        assert found.dtype == np.float32 and found.shape == (len(texts),)
        # 35 x 32 of (100, 90): torchvision cuts off 2 rows above (1.5, to the even side), transformers 1
        squared = Image.fromarray(picture).resize(resized, Image.Resampling.BICUBIC).crop(corners)
        pixels = processor(images=squared, return_tensors="pt")
        for text, cosine in zip(texts, found, strict=True):
            logits = model(**tokenizer(text, return_tensors="pt"), **pixels).logits_per_image
            assert cosine == pytest.approx(float(logits[0, 0] / model.logit_scale.exp()), abs=1e-6)


def test_blocks_change_nothing(judge: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    together = judge.compare(PICTURES, TEXTS)
    monkeypatch.setattr(clip, "PICTURES", 1)
    monkeypatch.setattr(clip, "TEXTS", 1)
    for row, same in zip(together, judge.compare(PICTURES, TEXTS), strict=True):
        assert row == pytest.approx(same, abs=1e-6)


def test_long_texts_are_cut_at_77(judge: Clip) -> None:
    text = " ".join(["dog"] * 75)
    long, short, other = judge.compare(PICTURES[:1], [[f"{text} cat cat", text, f"cat {text}"]])[0]
    assert long == short != other


def test_several_wordings_are_one_text(judge: Clip) -> None:
    """cos(p, a + b) = (cos(p, a) + cos(p, b)) / |a + b|: what all pictures have in common is the length."""
    a, b = "a red dog", "two cats near a clock"
    found = np.stack(judge.compare(PICTURES, [[a, b, (a, b), (a,)]] * len(PICTURES)))
    assert np.array_equal(found[:, 0], found[:, 3])
    sums = found[:, 0] + found[:, 1]
    lengths = sums / found[:, 2]
    assert lengths == pytest.approx(np.full(len(PICTURES), lengths[0]), rel=1e-3) and 0 < lengths[0] < 2
    a_D, b_D = judge._texts([a, b])
    assert lengths[0] == pytest.approx(float((a_D + b_D).norm()), rel=1e-3)


def test_the_card_says_which_judge(judge: Clip) -> None:
    assert judge.card[:3] == ("clip", "clip", "clip") and judge.card.resolution == "32x32"
