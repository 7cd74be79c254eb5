"""A judge's weights in memory: safetensors alone, whole or refused, frozen, in eval mode."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from silmm.benchmarks.judges.numbers import finite_weights
from silmm.errors import InputError
from silmm.model_sizes import check_counts, on_meta
from silmm.weight_files import read_config, read_header, weight_files
from silmm.whole_weights import refuse_unfit

# Buffers that older versions of transformers saved and newer ones compute: no weights.
COMPUTED = ("position_ids", "relative_position_index", "num_batches_tracked", "criterion.empty_weight")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")


def load_model(kind: Any, folder: Path, device: torch.device, *, unused: str = "", ignored: Sequence[str] = ()) -> Any:
    """A folder's weights in transformers' class `kind`: float32 on a CPU, on a GPU as they were saved.

    Args:
        unused: regular expression of weights that may be missing, because nothing that is computed here needs them.
        ignored: ends of the names of weights that may be there though this class has no place for them.

    Raises InputError where other weights are missing, unexpected, misshapen, or no numbers.
    """
    _check_config(kind, folder)
    try:
        model, found = kind.from_pretrained(
            folder, dtype=torch.float32 if device.type == "cpu" else "auto", use_safetensors=True,
            local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:  # of many kinds: huggingface_hub validates each field of config.json
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: no weights of {kind.__name__} ({reason}): download them again") from error
    if unused:
        found = dict(found) | {"missing_keys": [name for name in found["missing_keys"] if not re.match(unused, name)]}
    refuse_unfit(folder, found, kind.__name__, ignored=(*COMPUTED, *ignored))
    model = model.to(device).requires_grad_(False).eval()
    finite_weights(model, str(folder))
    return model


def _check_config(kind: Any, folder: Path) -> None:
    """InputError where config.json is that of a larger model than the files hold, or of none."""
    file = folder / "config.json"
    headers = [read_header(weights)[0] for weights in weight_files(folder)]
    held = {name: tuple(entry["shape"]) for header in headers for name, entry in header.items()}
    check_counts(file, read_config(folder, kind.__name__), held)
    try:
        config = kind.config_class.from_pretrained(folder, local_files_only=True)
        with on_meta(file, held):
            kind(config)
    except InputError:
        raise
    except Exception as error:  # as above
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not a config of {kind.__name__} ({reason}): download it again") from error


def load_part(kind: Any, folder: Path, **changed: Any) -> Any:
    """A folder's tokenizer or picture processor. Raises InputError where it has none that will do.

    Picture processors are those on Pillow and numpy: the others need torchvision, and resize a little differently.
    """
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **changed)
    except Exception as error:  # of many kinds, from several libraries
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: nothing that {kind.__name__} can read ({reason}): download it again") from error


def pixels(processor: Any, pictures: Sequence[Any], model: Any, **changed: Any) -> Any:
    """What a picture processor makes of pictures `[H, W, 3]`, of 0 to 255: `[B, 3, h, w]`, where the model is.

    changed: settings of the processor that are others than in its folder.
    """
    prepared = processor(images=list(pictures), return_tensors="pt", input_data_format="channels_last", **changed)
    return prepared.pixel_values.to(model.device, model.dtype)


def load_tokenizer(folder: Path, size: int) -> Any:
    """A folder's tokenizer, of at most `size` tokens. Raises InputError where it has none that will do: transformers
    would make an empty one."""
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise InputError(f"{folder}: no tokenizer ({', '.join(VOCABULARIES)}): download it again, all of it")
    tokenizer = load_part(AutoTokenizer, folder)
    if len(tokenizer) > size:
        raise InputError(f"{folder}: a tokenizer of {len(tokenizer)} tokens, weights for {size}: of different models")
    return tokenizer


def first_id(tokenizer: Any, text: str) -> int:
    """The id that a text begins with. Raises InputError where it has none."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if not ids:
        raise InputError(f"answer {text!r}: the judge's tokenizer has no token for it: give another one")
    return int(ids[0])


def only_id(tokenizer: Any, text: str) -> int | None:
    """The id that is the whole text; None where it takes several."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    return int(ids[0]) if len(ids) == 1 else None


def no_token(choice: str) -> InputError:
    """Of a choice that a query with `whole` asks for in vain."""
    return InputError(f"answer {choice!r}: the judge's tokenizer has no token that is the whole of it: take another")


def most_probable(choices: Sequence[str], probs: Sequence[float]) -> str:
    """The choice of the highest probability, the first of equals; nothing where there are none."""
    return max(zip(choices, probs, strict=True), key=lambda pair: pair[1])[0] if choices else ""
