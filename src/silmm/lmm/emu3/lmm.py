"""Emu3 as an `LMM` (see `silmm.lmm.interface`): the weights `gen` draw and learn, `chat` writes, asks and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from silmm.errors import InputError
from silmm.lmm.emu3 import draw, layout
from silmm.lmm.emu3.weights import Emu3Weights
from silmm.lmm.hf import checkpoint, text
from silmm.lmm.hf.branches import packed_width, yes_no
from silmm.lmm.hf.decoder import forward, new_cache
from silmm.lmm.hf.pretrained import PretrainedLMM
from silmm.lmm.interface import Drawn, Sampling


class Emu3LMM(PretrainedLMM):
    """An `LMM`; where both roles are one set of weights, the policy's LoRA serves both.

    Weights are loaded when a role first has something to do: writing and looking go without those that draw, drawing
    and learning without those that chat.
    """

    images = "discrete"

    def __init__(
        self, load_gen: Callable[[], tuple[Emu3Weights, Any]], load_chat: Callable[[], Emu3Weights] | None,
        settings: checkpoint.Settings, side: int, factor: int,
    ) -> None:  # fmt: skip
        """
        Args:
            load_gen: gives the weights that draw, and peft's model around them.
            load_chat: gives those that write and look; None where they are the same.
            side: of a drawn picture, in pixels.
            factor: pixels along a visual token's side.
        """
        self._load_gen, self._load_chat = load_gen, load_chat
        self.settings, self.side, self.length = settings, side, (side // factor) ** 2

    @cached_property
    def _drawing(self) -> tuple[Emu3Weights, Any]:
        return self._load_gen()

    @property
    def gen(self) -> Emu3Weights:
        """What draws and learns."""
        return self._drawing[0]

    @property
    def adapted(self) -> Any:
        """peft's model around `gen.model`."""
        return self._drawing[1]

    @cached_property
    def chat(self) -> Emu3Weights:
        """What writes, asks and looks."""
        return self.gen if self._load_chat is None else self._load_chat()

    @property
    def speaker(self) -> text.TextModel:  # type: ignore[override]
        """The language model of `chat`."""
        return self.chat.text

    @property
    def tokenizer(self) -> Any:
        """Of `chat`."""
        return self.chat.processor.tokenizer

    def prefixes(self, instructions: Sequence[str]) -> list[list[int]]:
        """Ids of instructions, each up to where the answer starts."""
        return layout.text_prefixes(self.chat.processor, instructions)

    # ---- drawing -------------------------------------------------------------------------------------------------

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """Codes `[P, N, L]` of the VQ tokenizer: a visual token's number is the code in its name."""
        return Drawn(draw.draw(self.gen, prompts, keys, sampling, self.side))

    def token_logps(self, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
        """Log-probs float32 `[B, L]`, renormalised over the visual tokens as they are drawn, without guidance."""
        return draw.token_logps(self.gen, prompts, self._own(tokens_BL), self.side)

    @torch.no_grad()
    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Pictures uint8 `[n, side, side, 3]`, decoded one at a time: convolutions of a batch may round differently."""
        width = self.side // self.gen.factor
        codes = torch.from_numpy(self._own(tokens_NL)).to(self.gen.visual_C.device)
        out = np.empty((len(codes), self.side, self.side, 3), np.uint8)
        for i, code_L in enumerate(codes):
            pixels = self.gen.model.model.vqmodel.decode(code_L.reshape(1, width, width)).float().cpu()
            out[i] = self.gen.processor.postprocess(list(pixels), return_tensors="PIL.Image.Image")["pixel_values"][0]
        return out

    def _own(self, tokens_NL: np.ndarray) -> np.ndarray:
        """Codes int64. Raises InputError for those of pictures of another size."""
        if tokens_NL.shape[1] != self.length:
            raise InputError(
                f"pictures of {tokens_NL.shape[1]} visual tokens: expected {self.length}, of {self.side} x {self.side}"
                " pixels: they were drawn with another side; draw them anew"
            )
        return np.asarray(tokens_NL, np.int64)

    # ---- looking -------------------------------------------------------------------------------------------------

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) `[Q_i, 2]`: pictures are rendered, then looked at."""
        return self.look(list(self.render(tokens_NL)), questions)

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """(p_yes, p_no) float32 `[Q_i, 2]`, over the whole vocabulary. The processor brings each picture to a size
        between its own `min_pixels` and `max_pixels`; it is read once for all its questions."""
        return [self._look(image, asked) for image, asked in zip(images, questions, strict=True)]

    @torch.no_grad()
    def _look(self, image: np.ndarray, questions: Sequence[str]) -> np.ndarray:
        if not questions:
            return np.zeros((0, 2), np.float32)
        processor, model = self.chat.processor, self.chat.text
        device = model.head.weight.device
        (before, *_), afters = zip(*(layout.split_at_image(processor, q) for q in questions), strict=True)
        inputs = processor(
            images=[Image.fromarray(image).convert("RGB")], text=[before + processor.image_token], return_tensors="pt"
        ).to(device)
        ids = inputs.input_ids
        picture = self.chat.model.model.get_image_tokens(inputs.pixel_values, inputs.image_sizes)
        ids[ids == processor.image_token_id] = picture.to(ids.dtype)
        branches = [[processor.tokenizer.encode(after, add_special_tokens=False) for after in afters]]
        mask = torch.ones_like(ids, dtype=torch.bool)
        cache = new_cache(model.decoder, ids.shape[1] + packed_width(branches))
        forward(model.decoder, model.embed(ids), mask, cache)
        return yes_no(model, cache, mask, branches, self.yes_no_words)[0]
