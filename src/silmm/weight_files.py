"""The files of a folder of downloaded weights: which they are, and whether they are whole. Standard library alone."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.model_sizes import check_counts
from silmm.typed_json import loads, short

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
PICKLED_INDEX, PICKLED = "pytorch_model.bin.index.json", "pytorch_model.bin"
_HEADER_LIMIT = 100 << 20  # as the safetensors library has it


def read_config(folder: Path, family: str) -> dict[str, Any]:
    """config.json. Raises InputError where there is none, or no object in it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: expected the downloaded weights of {family}")
    file = folder / "config.json"
    try:
        config = loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: {folder} is not a folder of weights that transformers wrote") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}): download it again") from None
    if not isinstance(config, dict):
        raise InputError(f"{file}: not a JSON object: download it again")
    check_counts(file, config, None)
    return config


def weight_files(folder: Path, *, pickled: bool = False) -> list[Path]:
    """The folder's safetensors files, or, where it has none and `pickled` allows it, torch's own. Raises InputError
    where one is missing."""
    safe = any((folder / name).is_file() for name in (INDEX, SINGLE))
    torch_own = any((folder / name).is_file() for name in (PICKLED_INDEX, PICKLED))
    named, single = (PICKLED_INDEX, PICKLED) if pickled and torch_own and not safe else (INDEX, SINGLE)
    index = read_index(folder / named)
    files = sorted({folder / name for name in index.values()}) if index else [folder / single]
    for file in files:
        if file.is_file():
            continue
        if any(folder.rglob("*.incomplete")):
            raise InputError(f"{file}: no such file, and a download has not finished (.incomplete): finish it")
        if not index and any(folder.glob("*.bin")):
            raise InputError(f"{file}: no such file; {folder} holds pickled weights (.bin): take safetensors instead")
        which = f" which {named} names" if index else ""
        raise InputError(f"{file}: no such file{which}: {len(files)} weight files are needed; download it")
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
            header = loads(stream.read(length).decode("utf-8"))
            header.pop("__metadata__", None)
            for name, entry in header.items():
                if not _is_tensor(entry):
                    raise ValueError(f"{short(name)} is {short(entry)}")
            data = max((entry["data_offsets"][1] for entry in header.values()), default=0)
            if sum(entry["data_offsets"][1] - entry["data_offsets"][0] for entry in header.values()) != data:
                raise ValueError("tensors overlap, or leave gaps")
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise InputError(f"{file}: not a safetensors file ({error}): download it again") from None
    if size != 8 + length + data:
        raise InputError(
            f"{file}: {size} bytes where its header says {8 + length + data}: a download was cut off; repeat it"
        )
    return header, 8 + length


def _is_tensor(entry: dict[str, Any]) -> bool:
    """Whether an entry of a header says what a tensor is: its dtype, its shape, and where it starts and ends, with room
    for as many numbers as the shape says."""
    numbers = [*entry["shape"], *entry["data_offsets"]]
    whole = all(type(number) is int and number >= 0 for number in numbers)
    if not whole or type(entry["dtype"]) is not str or len(entry["data_offsets"]) != 2:
        return False
    start, end = entry["data_offsets"]
    bits = re.search(r"\d+", entry["dtype"])  # F32, BF16, F8_E4M3, I64; BOOL has a byte
    return math.prod(entry["shape"]) * (int(bits[0]) if bits else 8) == 8 * (end - start)


def read_index(file: Path) -> dict[str, str]:
    """Tensor name: file name, of a sharded folder; else empty."""
    if not file.is_file():
        return {}
    try:
        named = dict(loads(file.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not an index of weights ({short(error)}): download it again") from None
    for name in named.values():
        # Names of files beside it: another path could lead to anything on the disk.
        if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InputError(f"{file}: names {short(name)}, no file of this folder: download it again")
    return named
