"""Checkpoints of Janus: which weights it needs, what is refused, and how a checkpoint becomes an `LMM`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from silmm.lmm.hf import checkpoint, folder, lora
from silmm.lmm.hf import original as publishers
from silmm.lmm.hf.checkpoint import Family

if TYPE_CHECKING:
    from silmm.lmm.janus.lmm import JanusLMM

# Attention and MLP of the language model; the vision tower has layers of like names.
REGEX = r"model\.language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"


def check(weights: Mapping[str, Path]) -> list[str]:
    """Raise InputError where weights, tokenizer or chat template will not do. Reads no weights. Returns lines about
    weights that nothing reads."""
    from silmm.lmm.janus import layout, original
    from silmm.lmm.janus import weights as loader

    path, said = weights["model"], []
    if sources := original.sources(path):
        made = partial(publishers.shapes_of_model, path, loader.skeleton)
        said = list(publishers.told(publishers.check(sources, made)))
    else:
        folder.check(path, family="janus", model_type="janus")
    config = loader.read_config(path)
    processor = loader.load_processor(path)
    loader.check_tokens(path, config, processor)
    layout.check_template(path, processor)
    return said


def check_and_tell(weights: Mapping[str, Path]) -> None:
    """`check`, with its lines on stderr."""
    for line in check(weights):
        print(f"adopt: {line}", file=sys.stderr)


def fingerprint(role: str, path: Path) -> str:
    """Of the folder, in either layout."""
    from silmm.lmm.janus import original

    sources = original.sources(path)
    return publishers.fingerprint(sources) if sources else folder.fingerprint(path)


def converted(path: Path) -> str:
    """What to do before transformers reads a folder in the original layout; nothing for its own."""
    from silmm.lmm.janus import original

    if not original.sources(path):
        return ""
    return (
        "take deepseek-community/Janus-Pro-1B or -7B in their place, or, of a tune, what transformers'"
        " `convert_janus_weights_to_hf.py` makes of it"
    )


def skeleton(weights: Mapping[str, Path]) -> Any:
    """The model on torch's meta device."""
    from silmm.lmm.janus import weights as loader

    return loader.skeleton(weights["model"])


FAMILY = Family(
    name="janus",
    title="Janus",
    roles=("model",),
    adapted="model",
    model_class="JanusForConditionalGeneration",
    licence="Janus' weights are published under the DeepSeek Model License, which restricts what they may be used for.",
    # Of deepseek-ai/Janus, generation_inference.py: temperature 1, cfg_weight 5, no cut.
    sampling=MappingProxyType({"temperature": 1.0, "top_p": 1.0, "top_k": 0, "guidance": 5.0}),
    regex=REGEX,
    check=check_and_tell,
    skeleton=skeleton,
    fingerprint=fingerprint,
    converted=converted,
)


def load(path: Path) -> JanusLMM:
    """The LMM of a checkpoint folder.

    Raises InputError where it is not whole, or its weights are others than it was made with, or will not do.
    """
    from silmm.device import own_device
    from silmm.lmm.janus import weights as loader
    from silmm.lmm.janus.lmm import JanusLMM

    settings = checkpoint.read(path)
    check(settings.weights)
    device = own_device()
    weights = loader.load(settings.weights["model"], dtype=settings.dtype, rows=settings.rows, device=device)
    adapted = lora.attach(weights.model, regex=REGEX, rank=settings.rank, alpha=settings.alpha, seed=None)
    lora.restore(adapted, path)
    return JanusLMM(weights, adapted, settings)
