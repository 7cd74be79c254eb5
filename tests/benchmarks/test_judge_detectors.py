"""Boxes and masks are those that transformers alone gives, by arithmetic written down here once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from silmm.benchmarks.judges import mask2former, owl
from silmm.benchmarks.judges.load import load
from silmm.benchmarks.judges.mask2former import Mask2Former, instances
from silmm.benchmarks.judges.owl import Owl
from silmm.benchmarks.judges.tiny import build

pytestmark = pytest.mark.xdist_group("judges")
PICTURES = [
    np.random.default_rng(k).integers(0, 256, size).astype(np.uint8)
    for k, size in enumerate([(48, 64, 3), (90, 60, 3)])
]
LABELS = (("dog", "red clock"), ("vase", "dog", "table"))


@pytest.fixture(scope="module")
def owl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("owlv2", tmp_path_factory.mktemp("judges") / "owlv2")


@pytest.fixture(scope="module")
def finder(owl_folder: Path) -> Owl:
    return load("detector", str(owl_folder))


@pytest.fixture(scope="module")
def mask_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("mask2former", tmp_path_factory.mktemp("judges") / "mask2former")


@pytest.fixture(scope="module")
def segmenter(mask_folder: Path) -> Mask2Former:
    return load("detector", str(mask_folder))


def as_the_authors(picture: np.ndarray, processor: Any) -> torch.Tensor:
    """google-research/scenic's OWL_ViT_minimal_example.ipynb with 64 pixels: a grey square, smoothed, resized."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.pad(picture / 255, ((0, side - height), (0, side - width), (0, 0)), constant_values=0.5)
    sigma = max(0, (side / 64 - 1) / 2)
    smooth = ndimage.gaussian_filter(square, (sigma, sigma, 0), mode="mirror")
    small = ndimage.zoom(smooth, (64 / side, 64 / side, 1), order=1, mode="mirror", grid_mode=True)
    normal = (small - processor.image_mean) / processor.image_std
    return torch.from_numpy(normal).float().permute(2, 0, 1)[None]


@torch.no_grad()
def test_owl_as_transformers_alone(owl_folder: Path, finder: Owl) -> None:
    from transformers import AutoTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    model = Owlv2ForObjectDetection.from_pretrained(owl_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(owl_folder)
    processor = Owlv2ImageProcessorPil.from_pretrained(owl_folder)
    for picture, labels, found in zip(PICTURES, LABELS, finder.detect(PICTURES, LABELS, 0.1), strict=True):
        pixel_values = as_the_authors(picture, processor)
        texts = [f"a photo of a {label}" for label in labels]
        read = tokenizer(texts, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
        outputs = model(**read, pixel_values=pixel_values)
        size = torch.tensor([picture.shape[:2]])
        (plain,) = processor.post_process_object_detection(outputs, threshold=0.1, target_sizes=size)
        order = plain["scores"].argsort(descending=True)
        wanted = [(labels[plain["labels"][i]], plain["scores"][i], plain["boxes"][i].tolist()) for i in order]
        height, width = picture.shape[:2]
        inside = [row for row in wanted if row[2][0] < width and row[2][1] < height]
        assert len(found) == len(inside) > 2
        for box, (label, score, corners) in zip(found, inside, strict=True):
            clipped = np.clip(corners, 0, [width, height, width, height])
            assert box.label == label and box.score == pytest.approx(float(score), rel=1e-4)
            assert box.xyxy == pytest.approx(clipped.tolist(), abs=1e-2) and box.mask is None


def test_owl_blocks_change_nothing(finder: Owl, monkeypatch: pytest.MonkeyPatch) -> None:
    together = finder.detect(PICTURES, LABELS, 0.0)
    monkeypatch.setattr(owl, "TEXTS", 1)
    for picture, labels, row in zip(PICTURES, LABELS, together, strict=True):
        (alone,) = finder.detect([picture], [labels], 0.0)
        assert [box.label for box in alone] == [box.label for box in row]
        assert [box.score for box in alone] == pytest.approx([box.score for box in row], rel=1e-5)


def test_owl_finds_nothing_it_was_not_asked_for(finder: Owl) -> None:
    boxes = finder.detect(PICTURES, [(), ("dog",)], 0.0)
    assert boxes[0] == [] and {box.label for box in boxes[1]} == {"dog"}
    assert finder.detect(PICTURES[:1], [("dog",)], 1.01) == [[]]


@torch.no_grad()
def test_mask2former_as_transformers_alone(
    mask_folder: Path, segmenter: Mask2Former, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the processor's own 384 x 384, which both can do; masks there are the nearest of 384 x 384 points."""
    from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    monkeypatch.setattr(mask2former, "SHORT", 384)
    picture = np.random.default_rng(5).integers(0, 256, (384, 384, 3)).astype(np.uint8)
    model = Mask2FormerForUniversalSegmentation.from_pretrained(mask_folder).eval()
    processor = Mask2FormerImageProcessorPil.from_pretrained(mask_folder)
    outputs = model(**processor(images=Image.fromarray(picture), return_tensors="pt"))
    (plain,) = processor.post_process_instance_segmentation(
        outputs, threshold=0.05, target_sizes=[(384, 384)], return_binary_maps=True
    )
    wanted = sorted(
        ((segment["score"], model.config.id2label[segment["label_id"]], mask.bool().numpy())
         for segment, mask in zip(plain["segments_info"], plain["segmentation"], strict=True)),
        key=lambda row: -row[0],
    )  # fmt: skip
    (found,) = segmenter.detect([picture], [()], 0.05)
    most = len(wanted)  # transformers keeps one box a query, mmdetection a hundred
    assert len(found) >= most > 2
    for box, (score, label, mask) in zip(found[:most], wanted, strict=True):
        assert box.score == pytest.approx(score, abs=2e-6) and box.label == label
        assert box.mask is not None and (box.mask == mask).all()


def test_masks_have_the_pictures_size(segmenter: Mask2Former) -> None:
    picture = PICTURES[0]
    ((best, *rest),) = segmenter.detect([picture], [()], 0.01)
    assert best.mask is not None and best.mask.shape == picture.shape[:2] and best.mask.dtype == bool
    assert all(box.score <= best.score for box in rest) and len({box.label for box in rest}) > 1
    x0, y0, x1, y1 = best.xyxy
    assert 0 <= x0 < x1 <= picture.shape[1] and 0 <= y0 < y1 <= picture.shape[0]


def test_instances_by_hand() -> None:
    """Two queries, two classes; the second mask fills the left half, sure of itself to sigmoid(2)."""
    probs = torch.tensor([[0.9, 0.05], [0.1, 0.6]])
    masks = torch.full((2, 4, 4), -20.0)
    masks[1, :, :2] = 2.0
    (found,) = instances(probs, masks, (4, 4), 0.2)
    number, score, box, mask = found
    assert number == 1 and score == pytest.approx(0.6 / (1 + np.exp(-2.0)), rel=1e-5)
    assert box == (0.0, 0.0, 2.0, 4.0) and mask.sum() == 8
    assert instances(probs, masks, (4, 4), 0.55) == []


@pytest.mark.parametrize(
    ("size", "looked_at"), [((100, 100), (800, 800)), ((100, 400), (333, 1333)), ((900, 600), (1200, 800))]
)
def test_proportions_are_kept(segmenter: Mask2Former, size: tuple[int, int], looked_at: tuple[int, int]) -> None:
    pixels, real = segmenter._pixels(np.zeros((*size, 3), np.uint8))
    assert real == looked_at and pixels.shape[1:] == tuple(-(-side // 32) * 32 for side in looked_at)


@pytest.mark.parametrize("size", [(1024, 1024), (2048, 1536), (480, 640), (256, 256), (300, 1000)])
def test_pictures_are_prepared_as_mmdetection_does(segmenter: Mask2Former, size: tuple[int, int]) -> None:
    """Its test pipeline for these weights, written down here with cv2: blue first, resized, grey below and right of it,
    red first, normalised. Pillow's filter is another one wherever a picture is made smaller."""
    picture = np.random.default_rng(6).integers(0, 256, (*size, 3)).astype(np.uint8)
    scale = min(1333 / max(size), 800 / min(size))
    height, width = (int(side * scale + 0.5) for side in size)
    small = cv2.resize(picture[..., ::-1], (width, height), interpolation=cv2.INTER_LINEAR)
    grey = cv2.copyMakeBorder(small, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    std = np.array([58.395, 57.12, 57.375])
    wanted = (cv2.cvtColor(grey, cv2.COLOR_BGR2RGB) - np.array([123.675, 116.28, 103.53])) / std
    pixels, real = segmenter._pixels(picture)
    steps = np.abs(pixels.permute(1, 2, 0).numpy() - wanted) * std  # of 255
    assert real == (height, width) and steps.max() < 1.001 and steps.mean() < 0.2
    assert steps[height:].max(initial=0) < 1e-3 and steps[:, width:].max(initial=0) < 1e-3
    pillow = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    assert min(size) < 800 or np.abs(pillow - small[..., ::-1].astype(int)).mean() > 10


def test_equally_good_objects_are_in_the_order_of_their_queries() -> None:
    """mmdetection's order; GenEval takes the last of equals. Query k is sure of class k, all of the same mask."""
    masks = torch.full((20, 4, 4), -20.0)
    masks[:, :2] = 2.0
    probs = torch.full((20, 20), 0.01).fill_diagonal_(0.7)
    probs[9, 9] = 0.8
    found = instances(probs, masks, (4, 4), 0.2)
    assert [number for number, *_ in found] == [9, *range(9), *range(10, 20)]
    assert {score for _, score, *_ in found[1:]} == {float(np.float32(found[1][1]))}
