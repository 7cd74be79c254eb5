"""Mask2Former finds the objects of COCO, with masks (Cheng et al., arXiv 2112.01527): GenEval's judge, with the same
weights (Swin-S, COCO instances) from transformers instead of mmdetection.

Pictures and masks are treated as mmdetection 2 does it for these weights (its configs/mask2former and its fusion head):
proportions kept, shorter side 800, longer at most 1333, bilinear without anti-aliasing (cv2's INTER_LINEAR to one of
255 steps), grey of 128 up to a multiple of 32. The published preprocessor_config.json says 384 x 384, squeezed, at
which small objects are lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from silmm.benchmarks.judges.interface import COUNTING, OBJECTS, Box, Card, Threshold
from silmm.benchmarks.judges.numbers import finite
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import load_model, load_part

SHORT, LONG, MULTIPLE, GREY = 800, 1333, 32, 128  # pixels; the colour of what is added at the right and below
MOST = 100  # objects of a picture: max_per_image
_GENEVAL = "GenEval's authors, for these weights (djghosh13/geneval: evaluation/evaluate_images.py)"
THRESHOLDS = {OBJECTS: Threshold(0.3, _GENEVAL, True), COUNTING: Threshold(0.9, _GENEVAL, True)}


class Mask2Former(NamedTuple):
    """A `Detector` with a vocabulary of its own."""

    card: Card
    model: Any  # Mask2FormerForUniversalSegmentation
    mean_C: Tensor
    std_C: Tensor
    thresholds: Mapping[str, Threshold] = THRESHOLDS

    @torch.inference_mode()
    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        """Boxes and masks of all objects of COCO with at least this score, best first."""
        return [self._detect(picture, least) for picture in pictures]

    def _detect(self, picture_HWC: np.ndarray, least: float) -> list[Box]:
        pixels_CHW, (height, width) = self._pixels(picture_HWC)
        found = self.model(pixel_values=pixels_CHW[None].to(self.model.device, self.model.dtype))
        finite(self.card, found.class_queries_logits, found.masks_queries_logits)
        masks_QHW = interpolate(found.masks_queries_logits.float(), pixels_CHW.shape[1:], mode="bilinear")[0]
        probs_QC = found.class_queries_logits[0].float().softmax(-1)[:, :-1]  # the last one is: no object
        chosen = instances(probs_QC, masks_QHW[:, :height, :width], picture_HWC.shape[:2], least)
        names = self.model.config.id2label
        return [Box(names[number], score, xyxy, mask_HW) for number, score, xyxy, mask_HW in chosen]

    def _pixels(self, picture_HWC: np.ndarray) -> tuple[Tensor, tuple[int, int]]:
        """What the model looks at, `[3, h, w]`, and (height, width) of the picture in it."""
        colours_HWC = resized(picture_HWC).permute(1, 2, 0)
        height, width = colours_HWC.shape[:2]
        padded_HWC = pad(colours_HWC, (0, 0, 0, -width % MULTIPLE, 0, -height % MULTIPLE), value=GREY)
        return ((padded_HWC / 255 - self.mean_C) / self.std_C).permute(2, 0, 1), (height, width)


def resized(picture_HWC: np.ndarray) -> Tensor:
    """Whole colours from 0 to 255 as float32 `[3, h, w]`."""
    height, width = picture_HWC.shape[:2]
    scale = min(SHORT / min(height, width), LONG / max(height, width))
    size = int(height * scale + 0.5), int(width * scale + 0.5)
    colours_1CHW = torch.from_numpy(np.ascontiguousarray(picture_HWC)).permute(2, 0, 1)[None].float()
    return interpolate(colours_1CHW, size, mode="bilinear", align_corners=False)[0].round()


def instances(
    probs_QC: Tensor, masks_QHW: Tensor, size: tuple[int, int], least: float
) -> list[tuple[int, float, tuple[float, float, float, float], np.ndarray]]:
    """(class, score, box, mask) of at most MOST objects, best first, equally good ones in the order of their queries. A
    query counts once for each class that it is among the best of; a score is the class's probability times how sure the
    mask is of its own pixels, in float32.

    Args:
        probs_QC: probability of each class for each query.
        masks_QHW: logits of the masks at the size that was looked at.
        size: the picture's, (height, width).
    """
    scores_N, order_N = probs_QC.flatten().topk(min(MOST, probs_QC.numel()))
    boxes: list[tuple[int, float, tuple[float, float, float, float], np.ndarray]] = []
    for place, prob in sorted(zip(order_N.tolist(), scores_N.tolist(), strict=True)):
        if prob < least:  # the mask can only lower it
            continue
        query, number = divmod(place, probs_QC.shape[1])
        logits_HW = interpolate(masks_QHW[None, query : query + 1], size, mode="bilinear")[0, 0]
        mask_HW = logits_HW > 0
        sure = float((logits_HW.sigmoid() * mask_HW).sum() / (mask_HW.sum() + 1e-6))
        score = float(np.float32(prob) * np.float32(sure))
        if score >= least and mask_HW.any():
            rows, columns = (mask_HW.any(dim).nonzero() for dim in (1, 0))
            xyxy = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
            boxes.append((number, score, xyxy, mask_HW.cpu().numpy()))
    return sorted(boxes, key=lambda box: -box[1])


def load(source: Source, device: torch.device) -> Mask2Former:
    """Mask2Former from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    model = load_model(Mask2FormerForUniversalSegmentation, source.folder, device)
    processor = load_part(Mask2FormerImageProcessorPil, source.folder)
    card = Card("detector", "mask2former", source.name, source.revision, f"{SHORT} to {LONG} pixels a side")
    return Mask2Former(card, model, torch.tensor(processor.image_mean), torch.tensor(processor.image_std))
