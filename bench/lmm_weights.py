"""Pretrained LMMs of any size with random weights, in their real layouts: what they cost, not what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from silmm import lmm as models
from silmm.lmm.emu3.names import VISUAL
from silmm.lmm.hf.checkpoint import Option, adopt
from silmm.lmm.interface import DiscreteImages

HEAD = 64  # channels of an attention head
JANUS_PATCH = 16  # pixels of SigLIP's patches and of the visual tokens; a picture is 384 x 384


class Size(NamedTuple):
    """Of a model, and of what it draws and looks at."""

    width: int  # channels of the language model; Janus' vision tower has as many
    layers: int  # of the language model, and of Janus' vision tower
    side: int  # pixels of a picture
    codes: int  # visual tokens to choose from
    vocab: int  # rows of the words' embedding and head
    channels: int  # of the visual tokenizer's first layer


SIZES = {  # as they are published, but narrow and shallow: (on a CPU, on a GPU)
    "janus": (Size(256, 2, 384, 16384, 32768, 32), Size(2048, 4, 384, 16384, 102400, 128)),
    "emu3": (Size(256, 2, 128, 32768, 184622, 32), Size(4096, 4, 720, 32768, 184622, 256)),
}


def build(family: str, size: Size, out: Path) -> None:
    """Write a folder of weights; the tokenizer is the tiny model's, with as many visual tokens as there are codes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        {"janus": _janus, "emu3": _emu3}[family](size, out)


def load(family: str, size: Size, folder: Path, *, rows: int, dtype: str = "float32", rank: int = 16) -> DiscreteImages:
    """Build, adopt and load, in this folder."""
    build(family, size, folder / "weights")
    return models.load(adopted(family, folder, rows=rows, side=size.side, dtype=dtype, rank=rank))


def adopted(family: str, folder: Path, *, rows: int, side: int, dtype: str = "float32", rank: int = 16) -> Path:
    """The checkpoint beside the weights that `build` made in `folder / "weights"`."""
    weights, options = weights_of(family, folder, side)
    out = folder / "ckpt"
    adopt(family, weights, out, rank=rank, alpha=rank, dtype=dtype, rows=rows, seed=0, options=options)
    return out


def weights_of(family: str, folder: Path, side: int) -> tuple[dict[str, Path], dict[str, Option]]:
    """The folders of the roles, all one, and the family's options."""
    roles: dict[str, tuple[tuple[str, ...], dict[str, Option]]] = {
        "janus": (("model",), {}), "emu3": (("gen", "chat"), {"side": side}),
    }  # fmt: skip
    names, options = roles[family]
    return dict.fromkeys(names, folder / "weights"), options


def _text(config: Any, size: Size) -> None:
    """Llama's proportions."""
    text = config.text_config
    text.hidden_size, text.intermediate_size = size.width, 11 * size.width // 4
    text.num_hidden_layers, text.num_attention_heads = size.layers, max(1, size.width // HEAD)
    text.num_key_value_heads, text.head_dim = text.num_attention_heads, HEAD
    text.vocab_size, text.max_position_embeddings, text.initializer_range = size.vocab, 16384, 0.02


def _janus(size: Size, out: Path) -> None:
    from transformers.models.janus.configuration_janus import JanusConfig
    from transformers.models.janus.modeling_janus import JanusForConditionalGeneration
    from transformers.models.janus.processing_janus import JanusProcessor

    from silmm.lmm.janus import tiny

    tiny.build(out)
    processor, config = JanusProcessor.from_pretrained(out), JanusConfig.from_pretrained(out)
    generation = JanusForConditionalGeneration.from_pretrained(out).generation_config
    processor.image_processor.size = {"height": size.side, "width": size.side}
    processor.num_image_tokens = (size.side // JANUS_PATCH) ** 2
    _text(config, size)
    vision, visual = config.vision_config, config.vq_config
    vision.hidden_size, vision.num_hidden_layers = size.width, size.layers
    vision.num_attention_heads, vision.mlp_ratio = max(1, size.width // HEAD), 4.0
    vision.image_size, vision.patch_size, vision.projection_dim = size.side, JANUS_PATCH, size.width
    vision.num_image_tokens = processor.num_image_tokens
    visual.num_embeddings, visual.base_channels, visual.latent_channels = size.codes, size.channels, 8 * size.channels
    visual.channel_multiplier, visual.num_patches = [1, 1, 2, 2, 4], size.side // JANUS_PATCH
    visual.projection_dim = visual.image_token_embed_dim = size.width
    model = JanusForConditionalGeneration(config)
    model.generation_config = generation
    model.save_pretrained(out)
    processor.save_pretrained(out)


def _emu3(size: Size, out: Path) -> None:
    from transformers import Emu3Config, Emu3ForConditionalGeneration, Emu3Processor

    from silmm.lmm.emu3 import tiny

    more = [VISUAL.format(code) for code in range(tiny.CODES, size.codes)]
    tiny.build(out, specials=[*tiny.SPECIALS, *more])
    processor, config = Emu3Processor.from_pretrained(out), Emu3Config.from_pretrained(out)
    processor.image_processor.min_pixels = processor.image_processor.max_pixels = size.side**2
    _text(config, size)
    visual = config.vq_config
    visual.codebook_size, visual.base_channels, visual.num_res_blocks = size.codes, size.channels, 2
    visual.channel_multiplier, visual.hidden_size = [1, 2, 2, 4], 4 * size.channels
    model = Emu3ForConditionalGeneration(config)
    for old in out.glob("model*"):  # the tiny one has several files
        old.unlink()
    model.save_pretrained(out)
    processor.save_pretrained(out)
