"""OWLv2 finds what it is asked for (Minderer et al., arXiv 2306.09683): stands in for T2I-CompBench's UniDet, which no
plain wheel runs. Numbers from it are another judge's.

It and not Grounding DINO, because every label is a text and every score a probability of its own; there, labels share
one sentence of at most 256 tokens, in which their order and number change the scores. Both do without torchvision here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from silmm.benchmarks.judges.interface import COUNTING, OBJECTS, Box, Card, Threshold
from silmm.benchmarks.judges.numbers import finite
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import load_model, load_part, load_tokenizer, pixels

PROMPT = "a photo of a {}"  # as the authors ask
TEXTS = 64  # rows of a pass: fixed, so that results do not depend on how many there are to come
GREY = 127.5  # of what is added at the right and below, up to a square
THRESHOLDS = {
    OBJECTS: Threshold(
        0.2, "OWLv2's authors in their example (google-research/scenic: OWL_ViT_minimal_example.ipynb); SLD", False
    ),
    COUNTING: Threshold(
        0.2, "SLD (Wu et al., arXiv 2311.16090), for counting objects in generated pictures", False, overlap=0.15
    ),
}


class Owl(NamedTuple):
    """A `Detector` of any label."""

    card: Card
    model: Any  # Owlv2ForObjectDetection
    tokenizer: Any
    processor: Any
    thresholds: Mapping[str, Threshold] = THRESHOLDS

    @torch.inference_mode()
    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        """Boxes of the labels with at least this score, best first. Each place has the one label that fits it best;
        nothing removes boxes that overlap, as its authors do not either."""
        distinct = list(dict.fromkeys(label for row in labels for label in row))
        texts_ND = dict(zip(distinct, self._texts(distinct), strict=True))
        return [
            self._detect(picture, row, torch.stack([texts_ND[label] for label in row]), least) if row else []
            for picture, row in zip(pictures, map(list, labels), strict=True)
        ]

    def _texts(self, labels: Sequence[str]) -> list[Tensor]:
        rows: list[Tensor] = []
        for start in range(0, len(labels), TEXTS):
            read = self.tokenizer(
                [PROMPT.format(label) for label in labels[start : start + TEXTS]], padding="max_length",
                truncation=True, max_length=self.model.config.text_config.max_position_embeddings, return_tensors="pt",
            ).to(self.model.device)  # fmt: skip
            found = self.model.owlv2.get_text_features(input_ids=read.input_ids, attention_mask=read.attention_mask)
            rows += torch.nn.functional.normalize(found.pooler_output, dim=-1)
        return rows

    def _detect(self, picture: np.ndarray, labels: Sequence[str], texts_ND: Tensor, least: float) -> list[Box]:
        feats_1HWD = self.model.image_embedder(self._pixels(picture))[0]
        feats_1LD = feats_1HWD.flatten(1, 2)
        logits_LN = self.model.class_predictor(feats_1LD, texts_ND[None])[0][0].float()
        scores_L, best_L = logits_LN.sigmoid().max(-1)
        centres_L4 = self.model.box_predictor(feats_1LD, feats_1HWD)[0].float()
        finite(self.card, logits_LN, centres_L4)
        corners_L4 = torch.cat(
            [centres_L4[:, :2] - centres_L4[:, 2:] / 2, centres_L4[:, :2] + centres_L4[:, 2:] / 2], -1
        )
        height, width = picture.shape[:2]
        corners_L4 = corners_L4 * max(height, width)  # pictures are padded to squares
        corners_L4 = corners_L4.clamp(corners_L4.new_zeros(4), corners_L4.new_tensor([width, height, width, height]))
        found = [
            Box(labels[best], score, (x0, y0, x1, y1))
            for best, score, (x0, y0, x1, y1) in zip(
                best_L.tolist(), scores_L.tolist(), corners_L4.tolist(), strict=True
            )
            if score >= least and x1 > x0 and y1 > y0  # not in the padding alone
        ]
        return sorted(found, key=lambda box: -box.score)

    def _pixels(self, picture: np.ndarray) -> Tensor:
        """What the model looks at, `[1, 3, h, w]`. The square is grey as its authors make it; transformers (5.23) makes
        it black."""
        height, width = picture.shape[:2]
        square = np.full((max(height, width),) * 2 + (3,), GREY, np.float32)
        square[:height, :width] = picture
        return pixels(self.processor, [square], self.model, do_pad=False)


def load(source: Source, device: torch.device) -> Owl:
    """OWLv2 from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    model = load_model(Owlv2ForObjectDetection, source.folder, device)
    tokenizer = load_tokenizer(source.folder, model.config.text_config.vocab_size)
    processor = load_part(Owlv2ImageProcessorPil, source.folder)
    size = f"{processor.size['height']}x{processor.size['width']}"
    return Owl(Card("detector", "owlv2", source.name, source.revision, size), model, tokenizer, processor)
