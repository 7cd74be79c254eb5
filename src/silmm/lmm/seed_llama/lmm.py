"""SEED-LLaMA as an `LMM` (see `silmm.lmm.interface`): one language model, whose LoRA learns.

The picture tokenizer and the diffusion decoder are loaded when a picture is first looked at or rendered: writing,
asking and learning go without, and save their memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.hf import checkpoint
from silmm.lmm.hf.branches import packed_width, yes_no
from silmm.lmm.hf.decoder import forward, new_cache
from silmm.lmm.hf.pretrained import PretrainedLMM
from silmm.lmm.interface import Drawn, Sampling
from silmm.lmm.seed_llama import draw, layout, quantizer, unclip
from silmm.lmm.seed_llama.weights import SeedWeights


class SeedLMM(PretrainedLMM):
    """An `LMM`."""

    images = "discrete"

    def __init__(self, weights: SeedWeights, adapted: Any, settings: checkpoint.Settings) -> None:
        """`adapted`: peft's model around `weights.model`."""
        self.speaker, self.tokenizer, self.adapted, self.settings = weights.text, weights.tokenizer, adapted, settings
        self.weights, self.length = weights, weights.length
        self._unspoken = {*weights.ids.visual, weights.ids.start, weights.ids.end}
        self._folders = {role: path.resolve() for role, path in settings.weights.items()}

    @cached_property
    def quantizer(self) -> quantizer.Quantizer:
        """The picture tokenizer."""
        return quantizer.load(self._folders["visual"]).to(self.weights.visual_C.device)

    @cached_property
    def pipeline(self) -> Any:
        """The diffusion decoder. Raises InputError where weights are missing, unexpected or misshapen."""
        return unclip.load(self._folders["diffusion"], dtype=self.settings.dtype, device=self.weights.visual_C.device)

    def prefixes(self, instructions: Sequence[str]) -> list[list[int]]:
        """Ids of instructions, each up to where the answer starts."""
        return [layout.text_ids(self.weights.tokenizer, self.weights.template, text) for text in instructions]

    def _decode(self, rows: Sequence[list[int]]) -> list[str]:
        """Without what shows pictures, which transformers 5 does not count among special tokens."""
        return super()._decode([[token for token in ids if token not in self._unspoken] for ids in rows])

    # ---- drawing -------------------------------------------------------------------------------------------------

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """Codes `[P, N, L]` of the picture tokenizer: a visual token's number is the code in its name."""
        return Drawn(draw.draw(self.weights, prompts, keys, sampling))

    def token_logps(self, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
        """Log-probs float32 `[B, L]`, renormalised over the visual tokens as they are drawn."""
        return draw.token_logps(self.weights, prompts, self._own(tokens_BL))

    @torch.no_grad()
    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Pictures uint8 `[n, H, W, 3]`, decoded one at a time, as in the reference: batches may round differently."""
        options, pipeline = self.settings.options, self.pipeline
        codes = torch.from_numpy(self._own(tokens_NL)).to(self.weights.visual_C.device)
        side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        out = np.empty((len(codes), side, side, 3), np.uint8)
        for i, codes_L in enumerate(codes):
            (embedding_E,) = self.quantizer.embed(codes_L[None])
            out[i] = unclip.picture(
                pipeline, embedding_E, steps=int(options["steps"]), guidance=float(options["guidance"])
            )
        return out

    def _own(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Codes int64. Raises InputError for those of another picture tokenizer."""
        if tokens_NL.shape[1] != self.length:
            raise InputError(
                f"pictures of {tokens_NL.shape[1]} visual tokens: expected {self.length}, as the picture tokenizer has"
                " queries: they were drawn with another; draw them anew"
            )
        return np.ascontiguousarray(tokens_NL, np.int64)

    # ---- looking -------------------------------------------------------------------------------------------------

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) `[Q_i, 2]`: pictures are rendered, then looked at: read back, their codes may be others."""
        return self.look(list(self.render(tokens_NL)), questions)

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) float32 `[Q_i, 2]`, over the whole vocabulary; a picture is read once for all its questions."""
        out: list[np.ndarray] = []
        for i in range(0, len(images), self.weights.text.rows):
            out += self._look(images[i : i + self.weights.text.rows], questions[i : i + self.weights.text.rows])
        return out

    @torch.no_grad()
    def _look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        tokenizer, template, model = self.weights.tokenizer, self.weights.template, self.weights.text
        before, _ = layout.look_ids(tokenizer, template, "")
        branches = [[layout.look_ids(tokenizer, template, question)[1] for question in row] for row in questions]
        seen = self.weights.visual_C[torch.stack([self.codes_of(image) for image in images])]
        sides = [seen.new_tensor(ids).expand(len(images), -1) for ids in (before, [self.weights.ids.end])]
        ids = torch.cat([sides[0], seen, sides[1]], 1)
        mask = torch.ones_like(ids, dtype=torch.bool)
        cache = new_cache(model.decoder, ids.shape[1] + packed_width(branches))
        forward(model.decoder, model.embed(ids), mask, cache)
        return yes_no(model, cache, mask, branches, self.yes_no_words)

    def codes_of(self, image: np.ndarray) -> Tensor:
        """Codes int64 `[L]` of a picture uint8 `[H, W, 3]` of any size, brought to the encoder's square (its aspect
        ratio is not kept, as in the reference's scripts); one at a time, so that batches do not change them."""
        from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

        side = self.quantizer.sizes.side
        picture = Image.fromarray(np.asarray(image)).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        pixels_HWC = torch.from_numpy(np.array(picture)).float() / 255
        pixels_HWC = (pixels_HWC - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(OPENAI_CLIP_STD)
        return self.quantizer.encode(pixels_HWC.permute(2, 0, 1)[None].to(self.weights.visual_C.device))[0]
