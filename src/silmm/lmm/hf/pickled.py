"""Pickled weights (.bin, .pt), where a published layout has no others: read without running code from the file, and
refused by name where one is missing, unexpected or misshapen."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from silmm.errors import InputError
from silmm.whole_weights import Shapes as Shapes
from silmm.whole_weights import differences, listed


def read_state(file: Path, *, meta: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU, mapped from the disk where torch can; `meta`: only their shapes.

    Raises InputError where there is no such file, it is not whole, or holds something else.
    """
    if not file.is_file():
        unfinished = any(file.parent.rglob("*.incomplete"))
        more = ", and a download has not finished (.incomplete): finish it" if unfinished else ": download it"
        raise InputError(f"{file}: no such file{more}")
    mapped = zipfile.is_zipfile(file)  # torch's older format is not
    try:
        found = torch.load(file, map_location="meta" if meta else "cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{file}: not a file of tensors alone ({reason}): take the published one") from None
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{file}: not a whole file of weights ({reason}): download it again") from None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise InputError(f"{file}: no tensors by name, but a {type(found).__name__}: take the published one")
    return dict(found)


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def same_weights(where: Path, found: Shapes, wanted: Shapes) -> None:
    """InputError that names the first three weights that are missing, unexpected or misshapen."""
    if problems := differences(found, wanted):
        raise InputError(f"{where}: {listed(problems)}: it is of another model, or of another version")


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Put tensors in the place of a module's weights, which may have been on the meta device; all, and no others.

    Raises InputError as `same_weights` does.
    """
    same_weights(where, shapes_of(tensors), shapes_of(module.state_dict()))
    module.load_state_dict(dict(tensors), assign=True)
    lost = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    assert not lost, f"{lost} are in no state dict"
