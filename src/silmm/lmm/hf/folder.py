"""Folders of downloaded weights: read without torch, refused in one line where something is missing or wrong.

A folder is what the hub holds and `save_pretrained` writes: config.json, a tokenizer, a processor, and either
model.safetensors or the shards that model.safetensors.index.json names; where a publisher has nothing else, the same
in torch's own files (pytorch_model.bin).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from silmm.errors import InputError
from silmm.model_sizes import check_counts
from silmm.weight_files import INDEX as INDEX
from silmm.weight_files import PICKLED_INDEX, read_index
from silmm.weight_files import SINGLE as SINGLE
from silmm.weight_files import read_config as read_config
from silmm.weight_files import read_header as read_header
from silmm.weight_files import weight_files as weight_files

TEXTS = (  # all but the weights that decides what an LMM computes; not all folders have all of them
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "config.json", "emu3.tiktoken",
    "emu3_vision_tokens.txt", "generation_config.json", "merges.txt", "preprocessor_config.json",
    "processor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "vocab.json",
)  # fmt: skip
_SAMPLE = 1 << 16  # bytes at both ends of a file's weights that count for the fingerprint


class Weights(NamedTuple):
    """What a folder says about its weights."""

    config: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]  # name: (dtype as safetensors spells it, shape)
    files: list[Path]  # that hold them


def check(folder: Path, *, family: str, model_type: str, pickled: bool = False) -> Weights:
    """Read config.json and the headers of the weights, and look whether every file is whole. `pickled`: torch's own
    files will do, too, where there is no safetensors file.

    Raises InputError where this is no folder of `model_type`, or a file is missing or not whole.
    """
    folder = Path(folder)
    config = read_config(folder, family)
    found = config.get("model_type")
    if found != model_type:
        raise InputError(
            f"{folder / 'config.json'}: model_type is {found!r}, but {family} needs {model_type!r}; give the folder of"
            " another model, or another family"
        )
    files = weight_files(folder, pickled=pickled)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in files:
        tensors |= _read_shapes(file)
    named = PICKLED_INDEX if files[0].suffix == ".bin" else INDEX
    promised = read_index(folder / named)
    lost = sorted(set(promised) - set(tensors))
    if lost:
        raise InputError(
            f"{folder / promised[lost[0]]}: lacks {lost[0]}, which {named} says it holds: the files are of different"
            " downloads; download the folder again"
        )
    check_counts(folder / "config.json", config, {name: shape for name, (_, shape) in tensors.items()})
    return Weights(config, tensors, files)


def held(folder: Path) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the weights in a folder, by name; None where they are not there, or not whole."""
    try:
        files = weight_files(folder, pickled=True)
        return {name: shape for file in files for name, (_, shape) in _read_shapes(file).items()}
    except InputError:
        return None


def _read_shapes(file: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Tensors of a file of either kind: (dtype, shape) by name."""
    if file.suffix == ".bin":
        from silmm.lmm.hf import pickled

        return {name: (str(t.dtype), tuple(t.shape)) for name, t in pickled.read_state(file, meta=True).items()}
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in read_header(file)[0].items()}


def fingerprint(folder: Path) -> str:
    """A hash of config, tokenizer and processor, and of the weights' names, shapes, sizes and a sample of their bytes.

    It tells one model from another, and from a fine-tuned one, in milliseconds; it does not find a changed bit.
    """
    return fingerprint_of(folder, TEXTS, weight_files(folder))


def fingerprint_of(folder: Path, texts: Sequence[str], weights: Sequence[Path]) -> str:
    """`fingerprint` of these files: texts count whole, where they are there; weights by a sample of their bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for name in texts:
        file = folder / name
        if file.is_file():
            digest.update(f"{name}\n".encode())
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
    for file in weights:
        # Of pickled weights the end counts most: a zip archive lists a checksum of each tensor there.
        start = read_header(file)[1] if file.suffix == ".safetensors" else 0
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(start + _SAMPLE))
            stream.seek(max(0, file.stat().st_size - _SAMPLE))
            digest.update(stream.read())
    return digest.hexdigest()
