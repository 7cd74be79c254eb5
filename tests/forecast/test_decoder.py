"""The arithmetic of a decoder's memory, against torch's own count of what it allocates: within 15 %."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from bench.memory import peak_cpu
from silmm.forecast import decoder as passes
from silmm.lmm.hf import lora
from silmm.lmm.hf.decoder import checkpointed, forward, new_cache
from silmm.lmm.hf.shape import decoder_of

REGEX = r"layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
RANK = 8
SIZES = [  # width, inner, layers, heads, key heads, rows, places
    (256, 688, 2, 4, 4, 4, 96),
    (256, 688, 6, 8, 2, 2, 256),
    (128, 1024, 2, 4, 4, 1, 700),
    (320, 320, 3, 5, 5, 3, 64),
]


def near(forecast: int, measured: int) -> bool:
    return abs(forecast - measured) <= 0.15 * measured


@pytest.fixture(scope="module", autouse=True)
def _threads() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("masked", [True, False])
def test_memory_is_as_forecast(size: tuple[int, ...], dtype: str, masked: bool) -> None:
    width, inner, layers, heads, key_heads, rows, places = size
    config = LlamaConfig(
        vocab_size=16, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=key_heads,
    )  # fmt: skip
    model = LlamaModel(config).eval().to(getattr(torch, dtype))
    adapted = lora.attach(model, regex=REGEX, rank=RANK, alpha=RANK, seed=0)
    decoder = decoder_of(config, dtype)
    assert sum(p.numel() for p in lora.parameters(adapted)) == passes.lora_weights(decoder, RANK)

    embeds = torch.randn(rows, places, width, dtype=getattr(torch, dtype))
    mask = torch.ones(rows, places, dtype=torch.bool)
    mask[0, :2] = not masked

    @torch.no_grad()
    def read() -> None:
        forward(model, embeds, mask, new_cache(model, places))

    expected = passes.cache(decoder, rows, places) + passes.reading(decoder, rows, places, masked=masked)
    assert near(expected, peak_cpu(read, ())[1])

    def learn() -> None:
        with checkpointed(model):
            hidden = forward(model, embeds, mask)
        hidden.float().sum().backward()

    gradients = passes.lora_weights(decoder, RANK) * passes.FLOAT // layers  # of the one layer at the peak
    expected = passes.learning(decoder, rows, places, masked=masked) + passes.kept(decoder, rows, places) + gradients
    assert near(expected, peak_cpu(learn, ())[1])


def test_more_of_anything_takes_more() -> None:
    decoder = decoder_of(LlamaConfig(hidden_size=64, intermediate_size=128, num_attention_heads=4), "bfloat16")
    for run in (passes.cache, passes.reading, passes.learning, passes.kept):
        small, rows, places = run(decoder, 2, 10), run(decoder, 3, 10), run(decoder, 2, 11)
        assert small < rows and small < places
