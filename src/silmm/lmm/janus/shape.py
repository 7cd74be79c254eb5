"""What Janus takes: its sizes, from config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from silmm.lmm.hf.checkpoint import Option
from silmm.lmm.hf.parts import Group, Holding, holding_of
from silmm.lmm.hf.shape import ITEMS, Shape, decoder_of

HUB = {"model": "deepseek-ai/Janus-Pro-7B or deepseek-community/Janus-Pro-7B"}  # where the weights are
GROUPS = (
    Group("picture encoder", ("vision_model.", "model.aligner.")),
    Group("picture tokenizer", ("vqmodel.", "generation_embeddings.", "generation_aligner.", "generation_head.")),
    Group("language model"),
)


def holds(role: str, path: Path, dtype: str) -> Holding:
    """What the folder of a role holds."""

    from silmm.lmm.janus.original import sources
    from silmm.lmm.janus.weights import skeleton

    return holding_of(path, skeleton, GROUPS, dtype, family="janus", sources=sources)


def shape(weights: Mapping[str, Path], options: Mapping[str, Option], dtype: str, rows: int) -> Shape:
    """The `Shape`. Raises InputError where config.json is missing or not Janus'."""
    from silmm.lmm.janus.weights import read_config

    config = read_config(weights["model"])
    decoder = decoder_of(config.text_config, dtype)
    visual, eye = config.vq_config, config.vision_config
    places = visual.num_patches**2
    side = visual.num_patches * 2 ** (len(visual.channel_multiplier) - 1)
    channels = visual.base_channels * max(visual.channel_multiplier[:2])
    return Shape(
        speaker=decoder,
        words=config.text_config.vocab_size,
        painter=decoder,
        codes=visual.num_embeddings,
        places=places,
        kept=places * 4,
        # All codes' logits while their gradients are made: they, their softmax, its gradient and theirs, in float32.
        learned=places * visual.num_embeddings * 16,
        seen=eye.num_image_tokens,
        looked_at=rows,
        # In a layer: the residual, what goes into the MLP, and its two wide ones; in float32 where it is 16 bits, too.
        see=round(rows * eye.num_image_tokens * eye.hidden_size * (4 + 2 * eye.mlp_ratio) * 4),
        # In a block at the full size: four maps; and the picture itself.
        render=rows * side * side * (4 * channels + 5) * ITEMS[dtype],
    )
