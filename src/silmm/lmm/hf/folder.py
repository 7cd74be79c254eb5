"""Folders of downloaded weights: read without torch, refused in one line where something is missing or wrong.

A folder is what the hub holds and `save_pretrained` writes: config.json, a tokenizer, a processor, and either
model.safetensors or the shards that model.safetensors.index.json names.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from silmm.errors import InputError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TEXTS = (  # all but the weights that decides what an LMM computes; not all folders have all of them
    "added_tokens.json", "chat_template.jinja", "chat_template.json", "config.json", "generation_config.json",
    "merges.txt", "preprocessor_config.json", "processor_config.json", "special_tokens_map.json", "tokenizer.json",
    "tokenizer_config.json", "vocab.json",
)  # fmt: skip
ORIGINALS = {  # model_type of the publishers' own layouts: what to take instead
    "multi_modality": "the original deepseek-ai layout: take the converted weights, as deepseek-community/Janus-Pro-1B",
    "Emu3": "the original BAAI layout: take the converted weights, as BAAI/Emu3-Gen-hf and BAAI/Emu3-Chat-hf",
}
_SAMPLE = 1 << 16  # bytes at both ends of a file's weights that count for the fingerprint
_HEADER_LIMIT = 100 << 20  # as the safetensors library has it


class Weights(NamedTuple):
    """What a folder says about its weights."""

    config: dict[str, Any]
    tensors: dict[str, tuple[str, tuple[int, ...]]]  # name: (dtype as safetensors spells it, shape)
    files: list[Path]  # that hold them


def check(folder: Path, *, family: str, model_type: str) -> Weights:
    """Read config.json and the headers of the weights, and look whether every file is whole.

    Raises InputError where this is no folder of `model_type`, or a file is missing or not whole.
    """
    folder = Path(folder)
    config = read_config(folder, family)
    found = config.get("model_type")
    if found != model_type:
        known = ORIGINALS.get(str(found))
        raise InputError(
            f"{folder / 'config.json'}: model_type is {found!r}, but {family} needs {model_type!r}"
            + (f"; this is {known}" if known else "; give the folder of another model, or another family")
        )
    files = weight_files(folder)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for file in files:
        tensors |= {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in read_header(file)[0].items()}
    promised = _index(folder)
    lost = sorted(set(promised) - set(tensors))
    if lost:
        raise InputError(
            f"{folder / promised[lost[0]]}: lacks {lost[0]}, which {INDEX} says it holds: the files are of different"
            " downloads; download the folder again"
        )
    return Weights(config, tensors, files)


def read_config(folder: Path, family: str) -> dict[str, Any]:
    """config.json. Raises InputError where there is none, or no object in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: expected the downloaded weights of {family}")
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: {folder} is not a folder of weights that transformers wrote") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}): download it again") from None
    if not isinstance(config, dict):
        raise InputError(f"{file}: not a JSON object: download it again")
    return config


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors files. Raises InputError where one is missing."""
    index = _index(folder)
    files = sorted({folder / name for name in index.values()}) if index else [folder / SINGLE]
    for file in files:
        if file.is_file():
            continue
        if any(folder.rglob("*.incomplete")):
            raise InputError(f"{file}: no such file, and a download has not finished (.incomplete): finish it")
        if not index and any(folder.glob("*.bin")):
            raise InputError(f"{file}: no such file; {folder} holds pickled weights (.bin): take safetensors instead")
        named = f" which {INDEX} names" if index else ""
        raise InputError(f"{file}: no such file{named}: {len(files)} weight files are needed; download it")
    return files


def read_header(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Tensors of a safetensors file by name, and the number of bytes before their data.

    Raises InputError where the file is shorter (or longer) than its own header says.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        if start.startswith(b"version "):
            raise InputError(f"{file}: a git-lfs pointer, not weights: run `git lfs pull`, or download the file")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > min(size - 8, _HEADER_LIMIT):
            raise InputError(f"{file}: {size} bytes, shorter than its own header: a download was cut off; repeat it")
        try:
            header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            data = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{file}: not a safetensors file ({error}): download it again") from None
    if size != 8 + length + data:
        raise InputError(
            f"{file}: {size} bytes where its header says {8 + length + data}: a download was cut off; repeat it"
        )
    return header, 8 + length


def fingerprint(folder: Path) -> str:
    """A hash of config, tokenizer and processor, and of the weights' names, shapes, sizes and a sample of their bytes.

    It tells one model from another, and from a fine-tuned one, in milliseconds; it does not find a changed bit.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in TEXTS:
        file = folder / name
        if file.is_file():
            digest.update(f"{name}\n".encode())
            digest.update(hashlib.blake2b(file.read_bytes()).digest())
    for file in weight_files(folder):
        _, start = read_header(file)
        digest.update(f"{file.name} {file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(start + _SAMPLE))
            stream.seek(max(0, file.stat().st_size - _SAMPLE))
            digest.update(stream.read())
    return digest.hexdigest()


def _index(folder: Path) -> dict[str, str]:
    """Tensor name: file name, of a sharded folder; else empty."""
    file = folder / INDEX
    if not file.is_file():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not an index of weights ({error!r}): download it again") from None
