"""A tiny Emu3 with random weights in the layout of the published ones, for tests and to try a workflow.

`python -m silmm.lmm.emu3.tiny --out FOLDER` (for `gen` and `chat` in one, or twice, with two seeds)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from silmm import rng as keyed
from silmm.atomic import atomic_dir
from silmm.lmm.emu3.names import END_OF_LINE, VISUAL
from silmm.lmm.emu3.original import BOS, EOS, NAMED, PAD, TEMPLATE

CODES, SIDE = 64, 32  # visual tokens; pixels of a drawn picture: 4 x 4 visual tokens
SPECIALS = (PAD, *NAMED.values(), END_OF_LINE, BOS, EOS, *(VISUAL.format(code) for code in range(CODES)))
# Whole by Emu3's own pattern, cut by GPT-2's, which stands in the tokenizer.json of the converted weights, as in this.
PIECES = ("-shaped", "(s", ".\n", "?\n\n", ":\n", '"a', "\n\n", "'S", "é", "日本")


def build(out: Path, *, seed: int = 0, specials: Sequence[str] = SPECIALS) -> None:
    """Write the folder. Same seed, same bytes. `specials`: the special tokens in the order of their ids."""
    from transformers import Emu3Processor
    from transformers.models.emu3.image_processing_emu3 import Emu3ImageProcessor

    tokenizer = _tokenizer(specials)
    images = Emu3ImageProcessor(
        image_mean=[0.5] * 3, image_std=[0.5] * 3, min_pixels=SIDE**2, max_pixels=4 * SIDE**2, spatial_factor=8
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(keyed.torch_seed(seed, "tiny", "emu3"))
        model = _model(tokenizer)
    with atomic_dir(out, "python -m silmm.lmm.emu3.tiny") as folder:
        model.save_pretrained(folder, max_shard_size="1MB")  # two shards: the published ones have several
        Emu3Processor(images, tokenizer, chat_template=TEMPLATE).save_pretrained(folder)


def _tokenizer(specials: Sequence[str]) -> Any:
    """Of GPT-2's kind; the special tokens stand in the vocabulary, too, as the conversion of the published ones left
    them."""
    from transformers import GPT2Tokenizer

    from silmm.lmm.emu3.tokenizer import cut_as_published
    from silmm.lmm.hf.tiny import bpe

    learned = json.loads(bpe((), more=PIECES, prepare=cut_as_published).to_str())["model"]
    vocab = learned["vocab"] | {name: len(learned["vocab"]) + i for i, name in enumerate(specials)}
    tokenizer = GPT2Tokenizer(
        vocab=vocab, merges=[tuple(pair) for pair in learned["merges"]], bos_token=BOS, eos_token=EOS, pad_token=PAD,
        unk_token=PAD, padding_side="left", extra_special_tokens=NAMED,
    )  # fmt: skip
    tokenizer.add_tokens(list(specials), special_tokens=True)
    return tokenizer


def _model(tokenizer: Any) -> Any:
    """An `Emu3ForConditionalGeneration`."""
    from transformers import Emu3Config, Emu3ForConditionalGeneration

    from silmm.lmm.hf.tiny import lean, leaning

    vocab = dict(sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]))
    text = {
        "vocab_size": len(vocab), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.15,
        "bos_token_id": vocab[BOS], "eos_token_id": vocab[EOS], "pad_token_id": vocab[PAD],
    }  # fmt: skip
    visual = {
        "codebook_size": CODES, "embed_dim": 4, "latent_channels": 4, "base_channels": 32, "hidden_size": 32,
        "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1,
    }  # fmt: skip
    config = Emu3Config(vocabulary_map=vocab, text_config=text, vq_config=visual)
    config.image_area = SIDE**2  # a field of the original config.json; the converted ones leave it out
    model = Emu3ForConditionalGeneration(config).eval()
    _sharpen(model, [vocab[VISUAL.format(code)] for code in range(CODES)])
    # Three times as much: what the sharper layers add makes the channel that leans a smaller part of the whole.
    lean(model.model.text_model, model.lm_head, 3 * leaning(tokenizer.backend_tokenizer, len(vocab), EOS))
    return model


@torch.no_grad()
def _sharpen(model: Any, visual: list[int]) -> None:
    """Let what was read before decide on the next visual token: nearly uniform probabilities, and such as depend on the
    last token alone, would hide wrong arithmetic."""
    for layer in model.model.text_model.layers:
        attention = layer.self_attn
        for linear, factor in ((attention.q_proj, 4), (attention.k_proj, 4), (attention.v_proj, 1.5)):
            linear.weight.mul_(factor)
        attention.o_proj.weight.mul_(1.5)
    model.lm_head.weight[visual] *= 3


def main(arguments: Sequence[str] | None = None) -> None:
    """`--out FOLDER [--seed N]`."""
    from silmm.lmm.hf.tiny import command

    command("Emu3", build, arguments)


if __name__ == "__main__":
    main()
