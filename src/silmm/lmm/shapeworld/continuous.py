"""The continuous ShapeWorld LMM: draws with features that a flow-matching decoder turns into pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from silmm import rng as keyed
from silmm.kernels.arguments import check_finite
from silmm.kernels.divdrop import mask_key
from silmm.lmm.continuous import noise_key
from silmm.lmm.interface import Drawn, Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.base import ShapeWorldLMM
from silmm.lmm.shapeworld.dream import DreamQueries, diverse_dreams, dream, noisy_dreams
from silmm.lmm.shapeworld.flow import FlowDecoder
from silmm.lmm.shapeworld.model import L_IMAGE, ShapeWorldLlama
from silmm.lmm.shapeworld.vocab import Vocab
from silmm.lmm.shapeworld.vq import VQTokenizer

BLOCK_PROMPTS = 64  # prompts per drawing block: fixed, so that results do not depend on the number of prompts
BLOCK_PAINT = 256  # pictures per decoding block


class ContinuousLMM(ShapeWorldLMM):
    """An `LMM` (see `silmm.lmm.interface`) that draws features; it looks at codes, as the discrete one does."""

    images = "continuous"

    def __init__(
        self, model: ShapeWorldLlama, queries: DreamQueries, decoder: FlowDecoder, tokenizer: VQTokenizer, vocab: Vocab
    ) -> None:
        super().__init__(model, tokenizer, vocab)
        self.queries, self.decoder = queries, decoder
        self.layers = len(model.model.layers)

    # ---- drawing -------------------------------------------------------------------------------------------------

    def _prefix(self, prompts: Sequence[str]) -> Tensor:
        return torch.from_numpy(layout.draw_prefix(self.vocab, prompts))

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        """Features `[P, N, Q, D]` by DivDrop, and the codes `[P, N * noises, 36]` that the decoder makes of them.

        Without dropout (rate or layers 0) a prompt's N features are the same, and equal to `features`.

        Raises ValueError when features are not finite.
        """
        feats = []
        for i in range(0, len(prompts), BLOCK_PROMPTS):
            block, block_keys = list(prompts[i : i + BLOCK_PROMPTS]), list(keys[i : i + BLOCK_PROMPTS])
            spare = BLOCK_PROMPTS - len(block)
            rows = block_keys + block_keys[:1] * spare
            drawn = diverse_dreams(
                self.model, self.queries, self._prefix(block + block[:1] * spare), self.vocab.pad,
                keys_P=torch.tensor([mask_key(*row[0][:-1]) for row in rows]),
                samples_PN=torch.tensor([[key[-1] for key in row] for row in rows]), drop=sampling,
            )  # fmt: skip
            check_finite("features", drawn)
            feats.append(drawn[: len(block)].numpy().copy())
        feats_PNQD = np.concatenate(feats)
        numbers = range(sampling.noises)
        noise_keys = [noise_key(sampling.noise, key[:-1], key[-1], m) for row in keys for key in row for m in numbers]
        each = np.repeat(feats_PNQD.reshape(-1, *feats_PNQD.shape[2:]), sampling.noises, 0)
        return Drawn(self.paint(each, noise_keys).reshape(len(prompts), -1, L_IMAGE), feats_PNQD)

    def draw_noisy(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], strength: float) -> Drawn:
        """As `draw` without dropout and with one decoder noise a prompt, but samples differ by keyed Gaussian noise on
        the queries' input embeddings, of `strength` times their root mean square."""
        shape = tuple(self.queries.embedding.shape)
        feats = []
        for i in range(0, len(prompts), BLOCK_PROMPTS):
            block, rows = list(prompts[i : i + BLOCK_PROMPTS]), list(keys[i : i + BLOCK_PROMPTS])
            spare = BLOCK_PROMPTS - len(block)
            noise = [
                [keyed.generator("queries", *key).standard_normal(shape, np.float32) for key in row] for row in rows
            ]
            noise_PNQD = strength * torch.from_numpy(np.array(noise + noise[:1] * spare))
            prefix = self._prefix(block + block[:1] * spare)
            drawn = noisy_dreams(self.model, self.queries, prefix, self.vocab.pad, noise_PNQD)
            feats.append(drawn[: len(block)].numpy().copy())
        feats_PNQD = np.concatenate(feats)
        noise_keys = [noise_key("prompt", key[:-1], key[-1]) for row in keys for key in row]
        codes = self.paint(feats_PNQD.reshape(-1, *shape), noise_keys)
        return Drawn(codes.reshape(len(prompts), -1, L_IMAGE), feats_PNQD)

    def paint(self, feats_NQD: np.ndarray, noise_keys: Sequence[tuple]) -> np.ndarray:
        """Codes int64 `[n, 36]` of features, one key a picture for the decoder's noise (see `noise_key`)."""
        shape = (L_IMAGE, self.tokenizer.codebook.shape[1])
        drawn: dict[tuple, Tensor] = {}
        for key in noise_keys:
            if key not in drawn:
                drawn[key] = torch.from_numpy(keyed.generator(*key).standard_normal(shape, np.float32))
        out = []
        for i in range(0, len(feats_NQD), BLOCK_PAINT):
            feats = torch.from_numpy(np.ascontiguousarray(feats_NQD[i : i + BLOCK_PAINT]))
            noise = torch.stack([drawn[key] for key in noise_keys[i : i + BLOCK_PAINT]])
            spare = BLOCK_PAINT - len(feats)
            feats, noise = (torch.cat([x, x[:1].expand(spare, *x.shape[1:])]) for x in (feats, noise))
            out.append(self.decoder.sample(feats, noise)[: BLOCK_PAINT - spare].numpy())
        return np.concatenate(out) if out else np.zeros((0, L_IMAGE), np.int64)

    # ---- learning ------------------------------------------------------------------------------------------------

    def features(self, prompts: Sequence[str]) -> Tensor:
        """Features `[B, Q, D]`, without dropout, with gradients."""
        return dream(self.model, self.queries, self._prefix(prompts), self.vocab.pad)

    def feature_range(self, feats_NQD: np.ndarray) -> np.ndarray:
        """Distance float64 `[n]` to the features that the decoder was trained on (see `FeatureRange`)."""
        return self.decoder.range.distance(torch.from_numpy(feats_NQD)).numpy()

    def parameters(self) -> list[torch.nn.Parameter]:
        """The weights that step 5 changes: the transformer and the queries; the decoder stays as it is."""
        return [*self.model.parameters(), *self.queries.parameters()]

    def learners(self) -> list[torch.nn.Module]:
        """The transformer, and the queries."""
        return [self.model, self.queries]

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder."""
        from silmm.lmm.shapeworld import checkpoint_continuous

        checkpoint_continuous.save(self, folder)
