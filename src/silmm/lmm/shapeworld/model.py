"""The transformer: `LlamaForCausalLM` with a learned place embedding for visual tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm.lmm.shapeworld.vocab import Vocab
from silmm.shapeworld.scene import GRID

L_IMAGE = GRID * GRID


class ShapeWorldLlama(LlamaForCausalLM):
    """Llama whose visual tokens also carry the place that they fill (row plus column)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.rows = nn.Embedding(GRID, config.hidden_size)
        self.cols = nn.Embedding(GRID, config.hidden_size)
        self.post_init()

    def place(self) -> Tensor:
        """Place embeddings `[36, D]`."""
        return (self.rows.weight[:, None] + self.cols.weight[None]).flatten(0, 1)

    def embed(self, ids_BT: Tensor, image_at: int | None = None) -> Tensor:
        """Input embeddings `[B, T, D]`; the picture's tokens start at position `image_at`, if there is one."""
        x = self.model.embed_tokens(ids_BT)
        if image_at is None:
            return x
        n = min(L_IMAGE, ids_BT.shape[1] - image_at)
        before, after = x[:, :image_at], x[:, image_at + n :]
        return torch.cat([before, x[:, image_at : image_at + n] + self.place()[:n], after], 1)

    def hidden(self, ids_BT: Tensor, mask: Tensor, positions: Tensor, image_at: int | None = None) -> Tensor:
        """Last hidden states `[B, T, D]`. mask: boolean `[B or 1, 1, T, T]`, True where attention is allowed."""
        return self.model(
            inputs_embeds=self.embed(ids_BT, image_at), attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state


def new_model(vocab: Vocab, *, width: int, layers: int, heads: int) -> ShapeWorldLlama:
    """A model with random weights (draws from torch's global generator)."""
    config = LlamaConfig(
        vocab_size=len(vocab), hidden_size=width, intermediate_size=width * 8 // 3 // 8 * 8, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=512, initializer_range=0.04,
        pad_token_id=vocab.pad, bos_token_id=vocab.bos, eos_token_id=vocab.eos, tie_word_embeddings=False,
        attn_implementation="sdpa",
    )  # fmt: skip
    return ShapeWorldLlama(config)
