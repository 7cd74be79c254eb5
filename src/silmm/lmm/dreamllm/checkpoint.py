"""Checkpoints of DreamLLM: which weights it needs, what is refused, and how a checkpoint becomes an `LMM`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from silmm.errors import InputError
from silmm.lmm.hf import checkpoint, lora
from silmm.lmm.hf.checkpoint import Family, Option

if TYPE_CHECKING:
    from silmm.lmm.dreamllm.lmm import DreamLMM

REGEX = r"model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
FEATURES = ("hidden", "projected")  # before, and after, the projector to the decoder


def check(weights: Mapping[str, Path]) -> None:
    """Raise InputError where weights, tokenizer or the decoder's configs will not do. Reads no weights."""
    from silmm.lmm.dreamllm import weights as loader

    loader.check(weights["model"], weights["diffusion"])


def check_options(weights: Mapping[str, Path], options: Mapping[str, Option]) -> None:
    """Raise InputError for features that there are not, and for more steps than the decoder was trained with."""
    from silmm.lmm.dreamllm import painter

    if options["features"] not in FEATURES:
        raise InputError(f"features is {options['features']!r}: expected {' or '.join(FEATURES)}")
    file = weights["diffusion"] / painter.CONFIGS[2]
    most = painter.read_config(file).get("num_train_timesteps", 1000)
    if not 1 <= int(options["steps"]) <= most:
        raise InputError(f"steps is {options['steps']}: expected 1 to {most}, num_train_timesteps of {file}")


def skeleton(weights: Mapping[str, Path]) -> Any:
    """The language model on torch's meta device."""
    from silmm.lmm.dreamllm import weights as loader

    return loader.skeleton(weights["model"])


def _fingerprint(role: str, folder: Path) -> str:
    from silmm.lmm.dreamllm import weights as loader

    return loader.fingerprint(role, folder)


FAMILY = Family(
    name="dreamllm",
    title="DreamLLM",
    roles=("model", "diffusion"),
    adapted="model",
    model_class="LlamaForCausalLM",
    licence="DreamLLM's weights derive from Vicuna v1.1, which stands under LLaMA's licence for research, and from"
    " Stable Diffusion 2.1, which stands under CreativeML Open RAIL++-M.",
    # DivDrop as SILMM's paper had it on DreamLLM, as far as Figures 5 and 6 tell; its authors draw without (rate 0).
    sampling=MappingProxyType({"rate": 0.3, "layers": 4, "site": "hidden", "positions": "queries", "noise": "prompt"}),
    regex=REGEX,
    check=check,
    skeleton=skeleton,
    # As its authors drew for their numbers on COCO: plain captions, guided away from no prompt.
    options={"steps": 100, "guidance": 2.5, "features": "hidden"},
    check_options=check_options,
    fingerprint=_fingerprint,
)


def load(path: Path) -> DreamLMM:
    """The LMM of a checkpoint folder.

    Raises InputError where it is not whole, or its weights are others than it was made with, or will not do.
    """
    from silmm.device import own_device
    from silmm.lmm.dreamllm import weights as loader
    from silmm.lmm.dreamllm.lmm import DreamLMM

    settings = checkpoint.read(path)
    loader.check_model(settings.weights["model"])  # the decoder is seen to where it is needed
    check_options(settings.weights, settings.options)
    device = own_device()
    folders = settings.weights["model"], settings.weights["diffusion"]
    weights = loader.load(*folders, dtype=settings.dtype, rows=settings.rows, device=device)
    adapted = lora.attach(weights.model, regex=REGEX, rank=settings.rank, alpha=settings.alpha, seed=None)
    lora.restore(adapted, path)
    return DreamLMM(weights, adapted, settings)
