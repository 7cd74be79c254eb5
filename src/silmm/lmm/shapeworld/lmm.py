"""The discrete ShapeWorld LMM: draws visual tokens one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from silmm.kernels.nucleus import nucleus
from silmm.kernels.selective_logps import selective_logps
from silmm.lmm.interface import Drawn, Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.base import ShapeWorldLMM, uniforms
from silmm.lmm.shapeworld.decode import decode
from silmm.lmm.shapeworld.model import L_IMAGE

BLOCK_PROMPTS = 64  # prompts per drawing block: fixed, so that results do not depend on the number of prompts


class DiscreteLMM(ShapeWorldLMM):
    """An `LMM` (see `silmm.lmm.interface`) for ShapeWorld."""

    images = "discrete"

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """Codes `[P, N, 36]`, by nucleus sampling; the prompt's prefix is run once for its N pictures."""
        if sampling.guidance != 1.0 or sampling.top_k:
            raise ValueError("images.guidance and images.top_k: ShapeWorld's discrete LMM has neither; leave them out")
        samples = len(keys[0])
        out = []
        for i in range(0, len(prompts), BLOCK_PROMPTS):
            block, block_keys = list(prompts[i : i + BLOCK_PROMPTS]), list(keys[i : i + BLOCK_PROMPTS])
            spare = BLOCK_PROMPTS - len(block)
            prefix = layout.draw_prefix(self.vocab, block + block[:1] * spare)
            flat = [key for row in block_keys + block_keys[:1] * spare for key in row]
            numbers = uniforms(flat, L_IMAGE)

            def choose(step: int, logits: Tensor, numbers: Tensor = numbers) -> Tensor:
                visual = logits[:, self.vocab.first_visual :].contiguous()
                uniform = numbers[:, step].contiguous()
                picked = nucleus(visual, uniform, temperature=sampling.temperature, top_p=sampling.top_p)
                return picked + self.vocab.first_visual

            ids = decode(
                self.model, torch.from_numpy(prefix), samples=samples, length=L_IMAGE, choose=choose,
                pad=self.vocab.pad, image=True,
            )  # fmt: skip
            out.append(ids[: len(block)].numpy() - self.vocab.first_visual)
        return Drawn(np.concatenate(out))

    def token_logps(self, prompts: Sequence[str], tokens_BL: np.ndarray) -> Tensor:
        """Log-probs fp32 `[B, 36]` of the codes, over visual tokens only, as they are drawn."""
        vocab = self.vocab
        codes = torch.from_numpy(self._codes(tokens_BL))
        prefix = torch.from_numpy(layout.draw_prefix(vocab, prompts))
        ids = torch.cat([prefix, codes[:, :-1] + vocab.first_visual], 1)
        mask = torch.from_numpy(layout.causal_mask(ids.numpy(), vocab.pad))
        hidden = self.model.hidden(ids, mask, torch.arange(ids.shape[1])[None], image_at=layout.DRAW_PREFIX)
        return selective_logps(hidden[:, -L_IMAGE:], self.model.lm_head.weight[vocab.first_visual :], codes)

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        from silmm.lmm.shapeworld import checkpoint

        checkpoint.save(self, folder)
