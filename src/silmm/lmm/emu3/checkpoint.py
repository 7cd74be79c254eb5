"""Checkpoints of Emu3: which weights it needs, what is refused, and how a checkpoint becomes an `LMM`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from silmm.errors import InputError
from silmm.lmm.hf import checkpoint, folder, lora
from silmm.lmm.hf import original as publishers
from silmm.lmm.hf.checkpoint import Family, Option

if TYPE_CHECKING:
    from silmm.lmm.emu3.lmm import Emu3LMM
    from silmm.lmm.emu3.weights import Emu3Weights

# Attention and MLP of the language model; the VQ tokenizer has layers of like names.
REGEX = r"model\.text_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
AREA = 518_400  # pixels of a drawn picture where nothing says otherwise: 720 x 720, as transformers' processor has it
MARKERS = 3  # tokens behind a picture's rows: end of frame, end of image, end of text


def check(weights: Mapping[str, Path]) -> list[str]:
    """Raise InputError where weights, tokenizer or chat template of a role will not do. Reads no weights. Returns
    lines about weights that nothing reads."""
    from silmm.lmm.emu3 import layout, names, original
    from silmm.lmm.emu3.weights import load_processor, read_config
    from silmm.lmm.emu3.weights import skeleton as skeleton_of

    said: dict[str, None] = {}
    for path in dict.fromkeys(weights.values()):
        if sources := original.sources(path):
            original.check_vision(path)
            found = publishers.check(sources, partial(publishers.shapes_of_model, path, skeleton_of))
            said |= dict.fromkeys(publishers.told(found))
        else:
            folder.check(path, family="emu3", model_type="emu3")
        config, processor = read_config(path), load_processor(path)
        names.read(path, config, processor.tokenizer)
        if path == weights["chat"]:
            layout.check_template(path, processor)
    return list(said)


def check_and_tell(weights: Mapping[str, Path]) -> None:
    """`check`, with its lines on stderr."""
    for line in check(weights):
        print(f"adopt: {line}", file=sys.stderr)


def fingerprint(role: str, path: Path) -> str:
    """Of a role's folder; in the original layout with that of the VQ tokenizer."""
    from silmm.lmm.emu3 import original

    sources = original.sources(path)
    return publishers.fingerprint(sources) if sources else folder.fingerprint(path)


def converted(path: Path) -> str:
    """What to do before transformers reads a folder in the original layout; nothing for its own."""
    from silmm.lmm.emu3 import original

    if not original.sources(path):
        return ""
    return (
        "take BAAI/Emu3-Gen-hf in the place of Emu3-Gen, or, of others, what transformers'"
        " `convert_emu3_weights_to_hf.py` makes of them"
    )


def side_of(weights: Mapping[str, Path], options: Mapping[str, Option]) -> int:
    """The side of drawn pictures in pixels: as the option says, or by `image_area` of config.json, or 720.

    Raises InputError where no such picture can be drawn.
    """
    from silmm.lmm.emu3.weights import read_config

    config = read_config(weights["gen"])
    side = int(options["side"]) or round(getattr(config, "image_area", AREA) ** 0.5)
    factor = 2 ** (len(config.vq_config.channel_multiplier) - 1)
    if side % factor:
        raise InputError(f"side is {side} pixels: Emu3's visual tokens are {factor} wide: must be a multiple of that")
    width, most = side // factor, config.text_config.max_position_embeddings
    if width * (width + 1) + MARKERS > most:
        raise InputError(
            f"side is {side} pixels, which take {width * (width + 1) + MARKERS} tokens: {weights['gen']} was made for"
            f" {most} at most: choose a smaller side"
        )
    return side


def skeleton(weights: Mapping[str, Path]) -> Any:
    """The model that learns, on torch's meta device."""
    from silmm.lmm.emu3 import weights as loader

    return loader.skeleton(weights["gen"])


FAMILY = Family(
    name="emu3",
    title="Emu3",
    roles=("gen", "chat"),
    adapted="gen",
    model_class="Emu3ForConditionalGeneration",
    licence="Emu3's weights are published under the Apache licence 2.0.",
    # Of baaivision/Emu3, image_generation.py: classifier_free_guidance 3, top_k 2048, and generate's own temperature 1.
    sampling=MappingProxyType({"temperature": 1.0, "top_p": 1.0, "top_k": 2048, "guidance": 3.0}),
    regex=REGEX,
    check=check_and_tell,
    skeleton=skeleton,
    options=MappingProxyType({"side": 0}),
    check_options=side_of,
    fingerprint=fingerprint,
    converted=converted,
)


def load(path: Path) -> Emu3LMM:
    """The LMM of a checkpoint folder; both roles share their memory where they are one folder. Everything is checked
    now, the weights themselves are read when they are needed.

    Raises InputError where it is not whole, or its weights are others than it was made with, or will not do.
    """
    from silmm.device import own_device
    from silmm.lmm.emu3 import weights as loader
    from silmm.lmm.emu3.lmm import Emu3LMM

    settings = checkpoint.read(path)
    check(settings.weights)
    side = side_of(settings.weights, settings.options)
    device = own_device()
    gen, chat = (settings.weights[role].absolute() for role in ("gen", "chat"))  # wherever they are first needed

    def weights(folder: Path) -> Emu3Weights:
        return loader.load(folder, dtype=settings.dtype, rows=settings.rows, device=device)

    def adapted() -> tuple[Emu3Weights, Any]:
        drawing = weights(gen)
        policy = lora.attach(drawing.model, regex=REGEX, rank=settings.rank, alpha=settings.alpha, seed=None)
        lora.restore(policy, path)
        return drawing, policy

    factor = 2 ** (len(loader.read_config(gen).vq_config.channel_multiplier) - 1)
    return Emu3LMM(adapted, None if chat.resolve() == gen.resolve() else lambda: weights(chat), settings, side, factor)
