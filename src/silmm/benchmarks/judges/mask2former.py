"""Mask2Former finds the objects of COCO, with masks (Cheng et al., arXiv 2112.01527): GenEval's judge, with the same
weights (Swin-S, COCO instances) from transformers instead of mmdetection.

Pictures and masks are treated as mmdetection 2 does it for these weights (its configs/mask2former and its fusion head):
proportions kept, shorter side 800, longer at most 1333. The published preprocessor_config.json says 384 x 384,
squeezed, at which small objects are lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from silmm.benchmarks.judges.interface import Box, Card
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import load_model, load_part

SHORT, LONG, MULTIPLE = 800, 1333, 32  # pixels
MOST = 100  # objects of a picture: max_per_image


class Mask2Former(NamedTuple):
    """A `Detector` with a vocabulary of its own."""

    card: Card
    model: Any  # Mask2FormerForUniversalSegmentation
    mean_C: Tensor
    std_C: Tensor

    @torch.inference_mode()
    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        """Boxes and masks of all objects of COCO with at least this score, best first."""
        return [self._detect(picture, least) for picture in pictures]

    def _detect(self, picture_HWC: np.ndarray, least: float) -> list[Box]:
        pixels_CHW = self._pixels(picture_HWC)
        height, width = pixels_CHW.shape[1:]
        padded_1CHW = pad(pixels_CHW, (0, -width % MULTIPLE, 0, -height % MULTIPLE))[None]
        real_1HW = pad(torch.ones(1, height, width, dtype=torch.int64), (0, -width % MULTIPLE, 0, -height % MULTIPLE))
        device, dtype = self.model.device, self.model.dtype
        found = self.model(pixel_values=padded_1CHW.to(device, dtype), pixel_mask=real_1HW.to(device))
        masks_QHW = interpolate(found.masks_queries_logits.float(), padded_1CHW.shape[2:], mode="bilinear")[0]
        probs_QC = found.class_queries_logits[0].float().softmax(-1)[:, :-1]  # the last one is: no object
        chosen = instances(probs_QC, masks_QHW[:, :height, :width], picture_HWC.shape[:2], least)
        names = self.model.config.id2label
        return [Box(names[number], score, xyxy, mask_HW) for number, score, xyxy, mask_HW in chosen]

    def _pixels(self, picture_HWC: np.ndarray) -> Tensor:
        height, width = picture_HWC.shape[:2]
        scale = min(SHORT / min(height, width), LONG / max(height, width))
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        resized = Image.fromarray(picture_HWC).resize(size, Image.Resampling.BILINEAR)
        pixels_HWC = torch.from_numpy(np.array(resized)).float() / 255
        return ((pixels_HWC - self.mean_C) / self.std_C).permute(2, 0, 1)


def instances(
    probs_QC: Tensor, masks_QHW: Tensor, size: tuple[int, int], least: float
) -> list[tuple[int, float, tuple[float, float, float, float], np.ndarray]]:
    """(class, score, box, mask) of at most MOST objects, best first. A query counts once for each class that it is
    among the best of; a score is the class's probability times how sure the mask is of its own pixels.

    Args:
        probs_QC: probability of each class for each query.
        masks_QHW: logits of the masks at the size that was looked at.
        size: the picture's, (height, width).
    """
    scores_N, order_N = probs_QC.flatten().topk(min(MOST, probs_QC.numel()))
    boxes: list[tuple[int, float, tuple[float, float, float, float], np.ndarray]] = []
    for score, place in zip(scores_N.tolist(), order_N.tolist(), strict=True):
        if score < least:  # the mask can only lower it
            break
        query, number = divmod(place, probs_QC.shape[1])
        logits_HW = interpolate(masks_QHW[None, query : query + 1], size, mode="bilinear")[0, 0]
        mask_HW = logits_HW > 0
        sure = float((logits_HW.sigmoid() * mask_HW).sum() / (mask_HW.sum() + 1e-6))
        if score * sure >= least and mask_HW.any():
            rows, columns = (mask_HW.any(dim).nonzero() for dim in (1, 0))
            xyxy = (float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1)
            boxes.append((number, score * sure, xyxy, mask_HW.cpu().numpy()))
    return sorted(boxes, key=lambda box: -box[1])


def load(source: Source, device: torch.device) -> Mask2Former:
    """Mask2Former from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    model = load_model(Mask2FormerForUniversalSegmentation, source.folder, device)
    processor = load_part(Mask2FormerImageProcessorPil, source.folder)
    card = Card("detector", "mask2former", source.name, source.revision, f"{SHORT} to {LONG} pixels a side")
    return Mask2Former(card, model, torch.tensor(processor.image_mean), torch.tensor(processor.image_std))
