"""MPNet compares texts (Song et al., arXiv 2004.09297; all-mpnet-base-v2): TIFA's way from a written answer to the
nearest choice. As sentence-transformers has it: the mean over a text's tokens, scaled to length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from silmm.benchmarks.judges.interface import Card
from silmm.benchmarks.judges.numbers import finite
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.weights import load_model, load_tokenizer

TEXTS = 32  # rows of a pass: fixed, so that results do not depend on how many there are to come
TOKENS = 384  # of a text that are read: max_seq_length of the published sentence_bert_config.json


class MPNet(NamedTuple):
    """An `Embedder`."""

    card: Card
    model: Any  # MPNetModel
    tokenizer: Any
    tokens: int

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `[N, D]`, each of length 1."""
        rows = [np.zeros((0, self.model.config.hidden_size), np.float32)]
        for start in range(0, len(texts), TEXTS):
            read = self.tokenizer(
                list(texts[start : start + TEXTS]), padding=True, truncation=True, max_length=self.tokens,
                return_tensors="pt",
            ).to(self.model.device)  # fmt: skip
            found = self.model(input_ids=read.input_ids, attention_mask=read.attention_mask)
            states_NTD, real_NT1 = found.last_hidden_state.float(), read.attention_mask[:, :, None].float()
            means_ND = (states_NTD * real_NT1).sum(1) / real_NT1.sum(1)
            finite(self.card, means_ND)
            rows.append(torch.nn.functional.normalize(means_ND, dim=-1).cpu().numpy())
        return np.concatenate(rows)


def load(source: Source, device: torch.device) -> MPNet:
    """MPNet from a folder in transformers' layout. Raises InputError where that is not whole."""
    from transformers import MPNetModel

    model = load_model(MPNetModel, source.folder, device, unused=r"pooler\.")
    tokenizer = load_tokenizer(source.folder, model.config.vocab_size)
    tokens = min(TOKENS, model.config.max_position_embeddings - 2)  # positions start behind the padding's
    card = Card("sentences", "mpnet", source.name, source.revision, f"{tokens} tokens")
    return MPNet(card, model, tokenizer, tokens)
