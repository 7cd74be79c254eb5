"""Checkpoint folders of the ShapeWorld LMMs, in Hugging Face's layout; every weight is accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.models.llama.configuration_llama import LlamaConfig

from silmm import tensor_files
from silmm.errors import InputError
from silmm.lmm.shapeworld import vocab as vocabulary
from silmm.lmm.shapeworld.base import ShapeWorldLMM
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.lmm.shapeworld.model import ShapeWorldLlama
from silmm.lmm.shapeworld.vq import VQTokenizer
from silmm.model_sizes import check_counts, on_meta
from silmm.tensor_files import saving
from silmm.typed_json import loads, short
from silmm.weight_files import read_header
from silmm.whole_weights import differences, listed

FAMILY = "shapeworld_discrete"
AGAIN = "re-run the stage that makes the checkpoint (silmm pretrain, silmm align)"
_FRONT = """---
library_name: transformers
license: apache-2.0
tags: [silmm, shapeworld]
---
"""
_CARD = """# A discrete ShapeWorld LMM

Made by silmm: a tiny `LlamaForCausalLM` over words and visual tokens, with a place embedding for the visual ones
(`rows`, `cols`), that draws, looks, asks and writes in ShapeWorld.
`silmm draw "a red circle left of a blue square" --ckpt .` draws with it, `silmm ask IMAGE QUESTION --ckpt .` asks it.

`model.safetensors` holds the transformer, `visual_tokenizer.safetensors` the VQ tokenizer, `tokenizer.json` the words.
"""


def save(lmm: DiscreteLMM, folder: Path) -> None:
    """Write the folder (it must exist, and be empty)."""
    save_shared(lmm, folder, {"silmm_family": FAMILY}, _CARD)


def save_shared(lmm: ShapeWorldLMM, folder: Path, extra: dict[str, Any], card: str) -> None:
    """What every ShapeWorld LMM has: config (with `extra`), transformer, visual tokenizer, words, model card."""
    config = lmm.model.config.to_dict() | {"architectures": ["ShapeWorldLlama"]} | extra
    config.pop("transformers_version", None)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    save_weights(lmm.model, folder / "model.safetensors")
    save_weights(lmm.tokenizer, folder / "visual_tokenizer.safetensors")
    lmm.vocab.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "README.md").write_text(_FRONT + card, encoding="utf-8")


def save_weights(module: torch.nn.Module, file: Path) -> None:
    """Write a module's weights, by name."""
    with saving(file):
        save_file({k: v.contiguous() for k, v in sorted(module.state_dict().items())}, str(file), {"format": "pt"})


def load(folder: Path) -> DiscreteLMM:
    """Load the folder. Raises InputError naming a missing file, or every missing, unexpected or misshapen weight."""
    return DiscreteLMM(*load_shared(folder))


def load_shared(folder: Path, *others: str) -> tuple[ShapeWorldLlama, VQTokenizer, vocabulary.Vocab]:
    """What `save_shared` wrote; `others` must be there too. Raises InputError as `load` does."""
    for name in ("model.safetensors", "visual_tokenizer.safetensors", "tokenizer.json", *others):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file: {folder} is not a whole checkpoint; {AGAIN}")
    try:
        vocab = vocabulary.load(folder)
    except Exception as error:  # the tokenizers library raises bare Exception for a damaged file
        raise InputError(f"{folder / 'tokenizer.json'}: not a tokenizer of silmm ({short(error)}); {AGAIN}") from error
    config = _config(folder)
    if config.vocab_size != len(vocab):
        raise InputError(
            f"{folder}: config.json has vocab_size {config.vocab_size}, tokenizer.json {len(vocab)} tokens; {AGAIN}"
        )
    model = ShapeWorldLlama(config)
    fill(model, folder / "model.safetensors")
    visual = folder / "visual_tokenizer.safetensors"
    check_shapes(lambda: VQTokenizer(vocab.n_visual), folder / "tokenizer.json", visual)
    tokenizer = VQTokenizer(vocab.n_visual)
    fill(tokenizer, visual)
    return model.eval(), tokenizer.eval().requires_grad_(False), vocab


def _config(folder: Path) -> LlamaConfig:
    """config.json, of a transformer whose weights have the shapes of model.safetensors: what it leaves out takes
    transformers' defaults, which are a model of billions. Raises InputError for any other."""
    file, weights = folder / "config.json", folder / "model.safetensors"
    held = _shapes(weights)
    try:
        check_counts(file, loads(file.read_text(encoding="utf-8")), held)
        config = LlamaConfig.from_pretrained(folder, attn_implementation="sdpa", local_files_only=True)
        check_shapes(lambda: ShapeWorldLlama(config), file, weights)
    except InputError:
        raise
    except Exception as error:  # transformers, huggingface_hub and torch have their own classes for a wrong field
        raise InputError(f"{file}: not the config of a Llama ({short(error)}); {AGAIN}") from error
    return config


def check_shapes(make: Callable[[], torch.nn.Module], config: Path, file: Path, hint: str = "") -> None:
    """InputError where the module that `make` makes by `config` is not that of the weights in `file`, by the shapes in
    its header; nothing is allocated. `hint`: what to do then."""
    held = _shapes(file)
    with on_meta(config, held):
        module = make()
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    if problems := differences(held, own):
        raise InputError(f"{file}: {listed(problems, most=5)}: {hint or AGAIN}")


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        return {name: tuple(entry["shape"]) for name, entry in read_header(file)[0].items()}
    except InputError as error:
        reason = str(error).removeprefix(f"{file}: ").rpartition(": ")[0]
        raise InputError(f"{file}: not a whole safetensors file ({reason}): {AGAIN}") from None


def fill(module: torch.nn.Module, file: Path, hint: str = "") -> None:
    """Load weights, refusing by name whatever does not fit, and what is not finite; `hint`: what to do then."""
    try:
        weights = tensor_files.load(file, load_file)
    except InputError as error:
        raise InputError(f"{error}: {AGAIN}") from None
    shapes, own = ({k: tuple(t.shape) for k, t in one.items()} for one in (weights, module.state_dict()))
    if problems := differences(shapes, own):
        raise InputError(f"{file}: {listed(problems, most=5)}: {hint or AGAIN}")
    if lost := [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        raise InputError(f"{file}: {lost[0]} holds numbers that are not finite: {hint or AGAIN}")
    module.load_state_dict(weights)
