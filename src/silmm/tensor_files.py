"""safetensors files as every other file is: what is wrong with one, or with the disk, is said in one line.

The library has an error class of its own for both, which is no OSError where the disk is full.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from silmm.errors import InputError


def load(file: Path, read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The tensors of a file, by name; `read` is the `load_file` of safetensors.numpy, or of safetensors.torch.

    Raises InputError, which names the file and not the remedy, where it is missing, cut off or something else.
    """
    if not file.is_file():
        raise InputError(f"{file}: {'not a file, but a folder' if file.is_dir() else 'no such file'}")
    try:
        return read(str(file))
    except (SafetensorError, AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: not a whole safetensors file ({reason[:200]})") from error


@contextmanager
def saving(file: Path) -> Iterator[None]:
    """Around `save_file`: OSError where the disk is full, or otherwise will not do."""
    try:
        yield
    except SafetensorError as error:
        found = re.search(r"\(os error (\d+)\)", str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(file)) from None
