"""A tiny SEED-LLaMA with random weights in the layout of the published ones, for tests and to try a workflow.

`python -m silmm.lmm.seed_llama.tiny --out FOLDER` writes FOLDER/llm, FOLDER/visual and FOLDER/diffusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm import rng as keyed
from silmm.atomic import atomic_dir
from silmm.lmm.seed_llama import quantizer_file, tiny_unclip
from silmm.lmm.seed_llama.names import END, START, VISUAL
from silmm.lmm.seed_llama.quantizer_file import Sizes

SIZES = Sizes(  # 3 x 3 patches; heads are as wide as the published ones, and two
    patch=14, places=10, vision_width=176, vision_hidden=128, vision_layers=2, queries=32, width=128, hidden=128,
    layers=3, every=2, codes=64, code_width=8, blocks=1, block_hidden=128, narrow=(32, 16, 2), embedding=32,
)  # fmt: skip


def build(out: Path, *, seed: int = 0, sizes: Sizes = SIZES, added: Sequence[str] = ()) -> None:
    """Write the three folders. Same seed, same bytes. `added`: the visual tokens and markers in the order of their ids,
    if not as published (visual tokens, then markers)."""
    from silmm.lmm.hf.tiny_sentencepiece import pieces, write

    names = list(added) or [*map(VISUAL.format, range(sizes.codes)), START, END]
    with atomic_dir(out, "python -m silmm.lmm.seed_llama.tiny") as folder:
        for part in ("llm", "visual"):
            (folder / part).mkdir()
        vocabulary = write(folder / "visual", pieces(), names, named="SeedLlamaTokenizer")
        torch.save(quantizer(sizes, seed), folder / "visual" / quantizer_file.FILE)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(keyed.torch_seed(seed, "tiny", "seed_llama"))
            visual = [vocabulary[VISUAL.format(code)] for code in range(sizes.codes)]
            # Two shards: the published ones have several.
            _model(vocabulary, visual).save_pretrained(folder / "llm", max_shard_size="200KB")
            tiny_unclip.write(folder / "diffusion", embedding=sizes.embedding)


def quantizer(sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """Random weights under their published names: sharp enough that other pixels have other codes, and other codes
    another embedding."""
    out = {}
    for name, shape in quantizer_file.shapes(sizes).items():
        normal = keyed.generator(seed, "tiny", "seed_llama", name).standard_normal(shape, dtype=np.float32)
        if "norm" in name.lower() or name.startswith("ln_"):
            weights = normal * np.float32(0.1) + np.float32(name.endswith(".weight"))
        elif len(shape) == 2:
            weights = normal * np.float32(2 / shape[1] ** 0.5)
        elif "patch_embed" in name and len(shape) == 4:
            weights = normal * np.float32(4 / np.prod(shape[1:]) ** 0.5)
        else:
            weights = normal * np.float32(0.5)
        out[name] = torch.from_numpy(weights)
    out["quantize.embedding.weight"] *= 0.5 * sizes.code_width**0.5
    return out


def _model(vocabulary: dict[str, int], visual: list[int]) -> Any:
    """A `LlamaForCausalLM`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from silmm.lmm.hf.tiny import lean
    from silmm.lmm.hf.tiny_sentencepiece import leaning

    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=2048, initializer_range=0.15, tie_word_embeddings=False,
        bos_token_id=vocabulary["<s>"], eos_token_id=vocabulary["</s>"],
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    _sharpen(model, visual)
    # Six times as much: what the sharper layers add makes the channel that leans a smaller part of the whole.
    lean(model.model, model.lm_head, 6 * leaning(vocabulary))
    return model


@torch.no_grad()
def _sharpen(model: Any, visual: list[int]) -> None:
    """Let what was read before decide on the next visual token: nearly uniform probabilities, and such as depend on the
    last token alone, would hide wrong arithmetic."""
    for layer in model.model.layers:
        attention = layer.self_attn
        for linear, factor in ((attention.q_proj, 4), (attention.k_proj, 4), (attention.v_proj, 1.5)):
            linear.weight.mul_(factor)
        attention.o_proj.weight.mul_(1.5)
    model.lm_head.weight[visual] *= 3


def main(arguments: Sequence[str] | None = None) -> None:
    """`--out FOLDER [--seed N]`."""
    from silmm.lmm.hf.tiny import command

    command("SEED-LLaMA", build, arguments)


if __name__ == "__main__":
    main()
