"""DreamLLM as an `LMM` (see `silmm.lmm.interface`): it draws features, which its decoder paints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm.kernels.arguments import check_finite
from silmm.lmm.continuous import check_dropout, noise_key
from silmm.lmm.dreamllm import layout
from silmm.lmm.dreamllm.config import PATCH
from silmm.lmm.dreamllm.dream import diverse_dreams, dream
from silmm.lmm.dreamllm.painter import Painter
from silmm.lmm.dreamllm.weights import DreamWeights
from silmm.lmm.hf import checkpoint
from silmm.lmm.hf.branches import packed_width, yes_no
from silmm.lmm.hf.decoder import forward, new_cache
from silmm.lmm.hf.pretrained import PretrainedLMM
from silmm.lmm.interface import Drawn, Sampling


class DreamLMM(PretrainedLMM):
    """A language model with LoRA, CLIP's eyes, dream queries, and Stable Diffusion's decoder."""

    images = "continuous"

    def __init__(self, weights: DreamWeights, adapted: Any, settings: checkpoint.Settings) -> None:
        """`adapted`: peft's model around `weights.model`."""
        self.speaker, self.tokenizer, self.adapted, self.settings = weights.text, weights.tokenizer, adapted, settings
        self.weights, self.layers = weights, len(weights.text.decoder.layers)

    def prefixes(self, instructions: Sequence[str]) -> list[list[int]]:
        """Ids of instructions, each up to where the answer starts."""
        return [layout.text_ids(self.tokenizer, instruction) for instruction in instructions]

    def answer_ids(self, text: str) -> list[int]:
        """Ids of what the LMM says; its tokenizer puts the space before it."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    # ---- drawing -------------------------------------------------------------------------------------------------

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """Features `[P, N, Q, D]` by DivDrop, in half precision, and pictures `[P, N * noises, side, side, 3]`.

        Raises ValueError for a sampling that does not fit, and where features are not finite.
        """
        check_dropout(sampling, self.layers)
        numbers = range(sampling.noises)
        noises = [noise_key(sampling.noise, key[:-1], key[-1], m) for row in keys for key in row for m in numbers]
        hidden_PNQD = diverse_dreams(self.speaker, self.weights.queries_QD, self._ids(prompts), keys, sampling)
        context_PNQC = self.painter.project(hidden_PNQD)
        chosen = hidden_PNQD if self._hidden else context_PNQC
        feats_PNQD = chosen.to(torch.float16)  # as exact as bfloat16 at least, and half of float32's room
        check_finite("features", feats_PNQD)
        pictures = self._paint(context_PNQC.flatten(0, 1).repeat_interleave(sampling.noises, 0), noises)
        return Drawn(None, feats_PNQD.cpu().numpy(), pictures.reshape(len(prompts), -1, *pictures.shape[1:]))

    @torch.no_grad()
    def _paint(self, context_NQC: Tensor, noises: Sequence[tuple]) -> np.ndarray:
        """Pictures; guidance is away from what the policy dreams of no prompt, without dropout."""
        free_QD = dream(self.speaker, self.weights.queries_QD, self._ids([""]))[0]
        steps, guidance = int(self.settings.options["steps"]), float(self.settings.options["guidance"])
        free_QC = self.painter.project(free_QD)
        return self.painter.paint(context_NQC, free_QC, noises, steps=steps, guidance=guidance, rows=self.settings.rows)

    def features(self, prompts: Sequence[str]) -> Tensor:
        """Features float32 `[B, Q, D]` on the CPU, without dropout, with gradients: H, or what the decoder reads of it
        (the option `features`)."""
        hidden_BQD = dream(self.speaker, self.weights.queries_QD, self._ids(prompts))
        return (hidden_BQD if self._hidden else self.painter.project(hidden_BQD)).float().cpu()

    @cached_property
    def painter(self) -> Painter:
        """What paints; read when it is needed first."""
        return self.weights.read_painter()

    @property
    def _hidden(self) -> bool:
        return self.settings.options["features"] == "hidden"

    def _ids(self, prompts: Sequence[str]) -> list[list[int]]:
        return [layout.draw_ids(self.tokenizer, prompt) for prompt in prompts]

    # ---- looking -------------------------------------------------------------------------------------------------

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) float32 `[Q_i, 2]`, over the whole vocabulary; a picture is read once for all its questions."""
        out: list[np.ndarray] = []
        for i in range(0, len(images), self.settings.rows):
            out += self._look(images[i : i + self.settings.rows], questions[i : i + self.settings.rows])
        return out

    @torch.no_grad()
    def _look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        vision, model = self.weights.vision, self.speaker
        weight = model.head.weight
        before, _ = layout.look_ids(self.tokenizer, "", vision.patches)
        branches = [[layout.look_ids(self.tokenizer, text, vision.patches)[1] for text in row] for row in questions]
        ids = torch.tensor([before] * len(images), device=weight.device)
        embeds_BTD = model.embed(ids)
        seen_BPD = vision(vision.pixels(images).to(weight.device, weight.dtype))
        places = ids == self.tokenizer.convert_tokens_to_ids(PATCH)
        embeds_BTD[places] = seen_BPD.flatten(0, 1).to(embeds_BTD.dtype)
        mask = torch.ones_like(ids, dtype=torch.bool)
        cache = new_cache(model.decoder, ids.shape[1] + packed_width(branches))
        forward(model.decoder, embeds_BTD, mask, cache)
        return yes_no(model, cache, mask, branches, self.yes_no_words)
