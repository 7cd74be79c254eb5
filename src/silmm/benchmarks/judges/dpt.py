"""DPT measures depth (Ranftl et al., arXiv 2103.13413): T2I-CompBench++'s judge of what is in front, DPT-hybrid of
MiDaS. What it gives is inverse depth up to scale and shift, so larger is nearer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from silmm.benchmarks.judges.interface import Card
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import load_model, load_part, pixels

# The first fusion layer has nothing to add to: the published files leave out what it would add by.
UNUSED = r"neck\.fusion_stage\.layers\.0\.residual_layer1\."


class Dpt(NamedTuple):
    """A `Depth`."""

    card: Card
    model: Any  # DPTForDepthEstimation
    processor: Any

    @torch.inference_mode()
    def depth(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """float32 `[H, W]` of each picture's size, by bicubic interpolation."""
        maps: list[np.ndarray] = []
        for picture in pictures:  # one by one: where a processor keeps proportions, sizes differ
            found = self.model(pixel_values=pixels(self.processor, [picture], self.model)).predicted_depth
            resized = torch.nn.functional.interpolate(
                found.float()[:, None], size=picture.shape[:2], mode="bicubic", align_corners=False
            )
            maps.append(resized[0, 0].cpu().numpy())
        return maps


def load(source: Source, device: torch.device) -> Dpt:
    """DPT from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import DPTForDepthEstimation, DPTImageProcessorPil

    model = load_model(DPTForDepthEstimation, source.folder, device, unused=UNUSED)
    processor = load_part(DPTImageProcessorPil, source.folder)
    size = f"{processor.size['height']}x{processor.size['width']}"
    return Dpt(Card("depth", "dpt", source.name, source.revision, size), model, processor)
