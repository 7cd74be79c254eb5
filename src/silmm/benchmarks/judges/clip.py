"""CLIP compares pictures with texts (Radford et al., arXiv 2103.00020): the judge of T2I-CompBench's non-spatial
relations and of GenEval's colours.

Pictures are cut to the middle square as torchvision does it for both official evaluators: half a pixel is rounded to
the even side. transformers rounds it down, one pixel of 224 away for every fourth shape that is not square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from silmm.benchmarks.judges.interface import Card, Text
from silmm.benchmarks.judges.numbers import finite
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import load_model, load_part, load_tokenizer, pixels

PICTURES, TEXTS = 16, 64  # rows of a pass: fixed, so that results do not depend on how many there are to come


class Clip(NamedTuple):
    """A `Comparer`."""

    card: Card
    model: Any  # CLIPModel
    tokenizer: Any
    processor: Any

    @torch.inference_mode()
    def compare(self, pictures: Sequence[np.ndarray], texts: Sequence[Sequence[Text]]) -> list[np.ndarray]:
        """Cosines float32 `[T_i]` of each picture with its texts. Texts of more than 77 tokens are cut: the official
        evaluators refuse them with an error, which would leave a prompt without a score."""
        meant = {text: (text,) if isinstance(text, str) else text for row in texts for text in row}
        distinct = list(dict.fromkeys(wording for wordings in meant.values() for wording in wordings))
        wordings_ND = dict(zip(distinct, self._texts(distinct), strict=True))
        texts_ND = {text: _mean([wordings_ND[one] for one in wordings]) for text, wordings in meant.items()}
        pictures_PD = self._pictures(pictures)
        return [
            np.array([float(picture_D @ texts_ND[text]) for text in row], np.float32)
            for picture_D, row in zip(pictures_PD, texts, strict=True)
        ]

    def _pictures(self, pictures: Sequence[np.ndarray]) -> list[Tensor]:
        rows: list[Tensor] = []
        for start in range(0, len(pictures), PICTURES):
            squares = [square(picture, self.processor.crop_size["height"]) for picture in pictures[start:][:PICTURES]]
            pixels_BCHW = pixels(self.processor, squares, self.model, do_resize=False, do_center_crop=False)
            rows += self._unit(self.model.get_image_features(pixel_values=pixels_BCHW).pooler_output)
        return rows

    def _texts(self, texts: Sequence[str]) -> list[Tensor]:
        rows: list[Tensor] = []
        for start in range(0, len(texts), TEXTS):
            read = self.tokenizer(
                list(texts[start : start + TEXTS]), padding="max_length", truncation=True,
                max_length=self.model.config.text_config.max_position_embeddings, return_tensors="pt",
            ).to(self.model.device)  # fmt: skip
            found = self.model.get_text_features(input_ids=read.input_ids, attention_mask=read.attention_mask)
            rows += self._unit(found.pooler_output)
        return rows

    def _unit(self, rows_BD: Tensor) -> Tensor:
        finite(self.card, rows_BD)
        rows_BD = rows_BD.float()
        return (rows_BD / rows_BD.norm(dim=-1, keepdim=True)).cpu()


def square(picture_HWC: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture, uint8 `[side, side, 3]`: its shorter side brought to `side`, bicubic."""
    height, width = picture_HWC.shape[:2]
    short = min(height, width)
    size = int(side * width / short), int(side * height / short)
    left, top = (round((length - side) / 2) for length in size)
    resized = Image.fromarray(picture_HWC).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(resized)[top : top + side, left : left + side]


def _mean(rows_ND: Sequence[Tensor]) -> Tensor:
    """The direction of the mean, [D]; of a single row, that row to the bit."""
    if len(rows_ND) == 1:
        return rows_ND[0]
    mean_D = torch.stack(list(rows_ND)).mean(0)
    return mean_D / mean_D.norm()


def load(source: Source, device: torch.device) -> Clip:
    """CLIP from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import CLIPImageProcessorPil, CLIPModel

    model = load_model(CLIPModel, source.folder, device)
    processor = load_part(CLIPImageProcessorPil, source.folder)
    crop = processor.crop_size
    card = Card("clip", "clip", source.name, source.revision, f"{crop['height']}x{crop['width']}")
    return Clip(card, model, load_tokenizer(source.folder, model.config.text_config.vocab_size), processor)
