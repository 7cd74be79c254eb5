"""Weights in torch's own files (.bin, .pt, .pth): mapped from the disk, and nothing in them is ever run."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def read(file: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU; their data are read from the file when they are used.

    Raises InputError where the file is missing, cut off, or holds anything but tensors by name.
    """
    import torch

    check(file)
    try:
        mapped = zipfile.is_zipfile(file)  # files of torch before 1.6 are none, and cannot be mapped
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{file}: not a file of tensors alone ({reason}): download it again") from None
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    ):
        raise InputError(f"{file}: not tensors by name, as torch.save writes a state dict: download it again")
    return found


def check(file: Path) -> None:
    """Raise InputError where the file is missing, or its end is. Reads next to nothing."""
    if not file.is_file():
        unfinished = any(file.parent.rglob("*.incomplete"))
        found = "a download has not finished (.incomplete): finish it" if unfinished else "download it"
        raise InputError(f"{file}: no such file: {found}")
    with file.open("rb") as stream:
        start = stream.read(8)
    if start == b"version ":
        raise InputError(f"{file}: a git-lfs pointer, not weights: run `git lfs pull`, or download the file")
    if not start or (start.startswith(b"PK") and not zipfile.is_zipfile(file)):  # its table of contents is at the end
        raise InputError(f"{file}: {file.stat().st_size} bytes, its end is missing: a download was cut off; repeat it")
