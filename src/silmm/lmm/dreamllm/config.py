"""DreamLLM's config.json: the language model's fields, the ids of special tokens, what its plug-ins were made with.

The classes that it names for its plug-ins are never looked up: what they are is in `vision.py` and `painter.py`, and
which sizes they have is read from their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.lmm.hf import folder as folders

PAD, PATCH, IMAGE_START, IMAGE_END = "[PAD]", "<im_patch>", "<im_start>", "<im_end>"
DREAM_START, DREAM_END = "<dream_start>", "<dream_end>"
NEEDED = (PAD, PATCH, IMAGE_START, IMAGE_END, DREAM_START, DREAM_END)
_OWN = (  # fields that are not the language model's
    "architectures", "auto_map", "model_type", "plugins_init_kwargs", "plugins_type", "special_tokens2ids_dict",
    "transformers_version",
)  # fmt: skip
_SELECT_LAYER = -2  # of CLIP, where no plug-in says otherwise: as the reference


def read(folder: Path) -> dict[str, Any]:
    """config.json. Raises InputError where there is none, or one of another model."""
    fields = folders.read_config(folder, "dreamllm")
    if not isinstance(fields.get("special_tokens2ids_dict"), dict):
        raise InputError(f"{folder / 'config.json'}: no special_tokens2ids_dict: expected the config of a DreamLLM")
    return fields


def llama(folder: Path) -> Any:
    """The `LlamaConfig`. Raises InputError where a value is not allowed, or the MLP is not Llama's."""
    from transformers import LlamaConfig

    fields = {name: value for name, value in read(folder).items() if name not in _OWN}
    try:
        config = LlamaConfig(**fields)
    except Exception as error:  # of many kinds: huggingface_hub validates each field
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'config.json'}: not a config of DreamLLM ({reason}): download it again") from error
    if config.hidden_act != "silu":
        raise InputError(
            f"{folder / 'config.json'}: hidden_act is {config.hidden_act!r}: expected 'silu', as DivDrop masks a SwiGLU"
        )
    return config


def special_ids(folder: Path) -> dict[str, int]:
    """Ids of special tokens by name. Raises InputError where one is missing, or has no weights."""
    fields = read(folder)
    given = fields["special_tokens2ids_dict"]
    ids = {name: value for name, value in given.items() if not isinstance(value, Mapping)}
    for more in given.values():
        ids |= more if isinstance(more, Mapping) else {}
    for name in NEEDED:
        if type(ids.get(name)) is not int or not 0 <= ids[name] < fields.get("vocab_size", 0):
            raise InputError(
                f"{folder / 'config.json'}: special_tokens2ids_dict gives {name} the id {ids.get(name)!r}, with"
                f" vocab_size {fields.get('vocab_size')!r}: expected one below that: take the published config.json"
            )
    return ids


def select_layer(folder: Path) -> int:
    """Which of CLIP's hidden states are looked at; negative numbers count from the last."""
    plugins = read(folder).get("plugins_init_kwargs") or {}
    found = [given["select_layer"] for given in plugins.values() if isinstance(given, dict) and "select_layer" in given]
    if not all(type(layer) is int for layer in found):
        raise InputError(f"{folder / 'config.json'}: plugins_init_kwargs: select_layer is {found[0]!r}: expected int")
    return found[0] if found else _SELECT_LAYER
