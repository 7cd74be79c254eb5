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
from silmm.typed_json import short
from silmm.whole_weights import Shapes as Shapes
from silmm.whole_weights import differences, listed

SHARED = 2  # tensors that share their numbers with others: of so many times the file's size together


def read_state(file: Path, *, meta: bool = False) -> dict[str, Tensor]:
    """The tensors of a file by name, on the CPU, mapped from the disk where torch can; `meta`: only their shapes.

    Raises InputError where there is no such file, it is not whole, holds something else, or would unpack to more than
    it is: torch never compresses, and its tensors may share memory, but no number stands for many.
    """
    if not file.is_file():
        unfinished = any(file.parent.rglob("*.incomplete"))
        more = ", and a download has not finished (.incomplete): finish it" if unfinished else ": download it"
        raise InputError(f"{file}: no such file{more}")
    mapped = zipfile.is_zipfile(file)  # torch's older format is not
    try:
        if mapped:
            _check_archive(file)
        found = torch.load(file, map_location="meta" if meta else "cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"{file}: not a file of tensors alone ({reason}): take the published one") from None
    except Exception as error:  # torch's reader of pickles raises nearly anything on damaged ones
        reason = (str(error) or type(error).__name__).split("\n")[0][:200]
        raise InputError(f"{file}: not a whole file of weights ({reason}): download it again") from None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise InputError(f"{file}: no tensors by name, but a {type(found).__name__}: take the published one")
    size, claimed = file.stat().st_size, [tensor.numel() * tensor.element_size() for tensor in found.values()]
    if any(number > size for number in claimed) or sum(claimed) > SHARED * size:
        raise InputError(f"{file}: {size:,} bytes that claim tensors of {sum(claimed):,}: take the published one")
    return dict(found)


def _check_archive(file: Path) -> None:
    """ValueError for an archive whose members would unpack to more than it is, or share bytes."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    if packed := [member for member in members if member.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(f"{short(packed[0].filename)} is compressed, as torch never writes it")
    if (total := sum(member.file_size for member in members)) > file.stat().st_size:
        raise ValueError(f"its members claim {total:,} bytes")


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
