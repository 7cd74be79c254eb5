"""Janus as an `LMM` (see `silmm.lmm.interface`): one set of weights, whose language model carries the LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from silmm.lmm.hf import checkpoint
from silmm.lmm.hf.branches import packed_width, yes_no
from silmm.lmm.hf.decoder import forward, new_cache
from silmm.lmm.hf.pretrained import PretrainedLMM
from silmm.lmm.interface import Drawn, Sampling
from silmm.lmm.janus import draw, layout
from silmm.lmm.janus.weights import JanusWeights


class JanusLMM(PretrainedLMM):
    """An `LMM`."""

    images = "discrete"

    def __init__(self, weights: JanusWeights, adapted: Any, settings: checkpoint.Settings) -> None:
        """`adapted`: peft's model around `weights.model`."""
        self.speaker, self.tokenizer = weights.text, weights.processor.tokenizer
        self.adapted, self.settings = adapted, settings
        self.weights, self.length = weights, weights.length

    def prefixes(self, instructions: Sequence[str]) -> list[list[int]]:
        """Ids of instructions, each up to where the answer starts."""
        return [layout.text_ids(self.weights.processor, instruction) for instruction in instructions]

    # ---- drawing -------------------------------------------------------------------------------------------------

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """Codes `[P, N, L]` of the visual tokenizer."""
        return Drawn(draw.draw(self.weights, prompts, keys, sampling))

    def token_logps(self, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
        """Log-probs float32 `[B, L]` of codes, without guidance."""
        return draw.token_logps(self.weights, prompts, tokens_BL)

    @torch.no_grad()
    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Pictures uint8 `[n, H, W, 3]`; the visual tokenizer's decoder gives values in [-1, 1]."""
        codes = torch.from_numpy(np.ascontiguousarray(tokens_NL, np.int64)).to(self.weights.text.head.weight.device)
        out = []
        for block_BL in codes.split(self.settings.rows):
            pixels = self.weights.model.model.vqmodel.decode(block_BL).float().permute(0, 2, 3, 1)
            out.append(((pixels + 1) * 127.5).clamp(0, 255).to(torch.uint8).cpu().numpy())
        return np.concatenate(out)

    # ---- looking -------------------------------------------------------------------------------------------------

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) `[Q_i, 2]`: pictures are rendered, then looked at, through another encoder than they came
        from."""
        return self.look(list(self.render(tokens_NL)), questions)

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) float32 `[Q_i, 2]`, over the whole vocabulary; a picture is read once for all its questions."""
        out: list[np.ndarray] = []
        for i in range(0, len(images), self.settings.rows):
            out += self._look(images[i : i + self.settings.rows], questions[i : i + self.settings.rows])
        return out

    @torch.no_grad()
    def _look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        processor, model = self.weights.processor, self.weights.text
        device = model.head.weight.device
        pictures = [Image.fromarray(np.asarray(image)).convert("RGB") for image in images]
        pixels = processor.image_processor(images=pictures, return_tensors="pt").pixel_values.to(device, self._dtype)
        before, _ = layout.look_ids(processor, "")
        branches = [[layout.look_ids(processor, question)[1] for question in row] for row in questions]
        ids = torch.tensor([before] * len(pictures), device=device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        embeds_BTD = model.embed(ids)
        seen = self.weights.model.model.get_image_features(pixels).pooler_output
        places = ids == processor.tokenizer.convert_tokens_to_ids(processor.image_token)
        embeds_BTD[places] = seen.reshape(-1, seen.shape[-1]).to(embeds_BTD.dtype)
        cache = new_cache(model.decoder, ids.shape[1] + packed_width(branches))
        forward(model.decoder, embeds_BTD, mask, cache)
        return yes_no(model, cache, mask, branches, self.yes_no_words)

    @property
    def _dtype(self) -> torch.dtype:
        return self.weights.text.head.weight.dtype
