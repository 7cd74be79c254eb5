"""A toy language model: random, sharp enough that wrong arithmetic shows."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm.lmm.hf.text import TextModel

VOCAB = 40


def build() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, attention_dropout=0.5, initializer_range=0.2, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture
def llama() -> LlamaForCausalLM:
    torch.set_num_threads(1)
    return build()


@pytest.fixture
def speaker(llama: LlamaForCausalLM) -> TextModel:
    return TextModel(llama.model, llama.lm_head, pad=0, stops=frozenset({2}), rows=4)
