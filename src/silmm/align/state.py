"""Resumable training state: kept outside the workflow's outputs, so that a failed job does not lose it.

It holds weights, optimiser state and the metrics so far. The learning rate is a function of the step, and every random
draw is keyed by the step it is for (`silmm.rng`): there is no schedule and no random stream to keep.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from silmm.atomic import atomic_file, remove_leftovers
from silmm.errors import InputError
from silmm.outputs import MARKER
from silmm.tensor_files import saving

SECONDS = 60.0  # from one save to the next, if the steps between them are not enough before
SHARE = 0.05  # of the time may go into saving: a state of gigabytes is saved more rarely
LONGEST = 100.0  # seconds to wait at most, so that with step and save less than two minutes are lost
FILE = "state.safetensors"  # one file, tensors and all: it is replaced at one stroke


def fingerprint(settings: dict[str, Any], files: Sequence[Path] = (), seen: Iterable[object] = ()) -> str:
    """A hash of settings, of files or whole folders, and of what training sees (arrays, and lists of texts): state made
    from others must not be continued."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for path in files:
        members = sorted(p for p in path.rglob("*") if p.is_file() and p.name != MARKER) if path.is_dir() else [path]
        for member in members:
            digest.update(str(member.relative_to(path) if path.is_dir() else member.name).encode())
            digest.update(member.read_bytes())
    for value in seen:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        else:
            digest.update(json.dumps(value).encode())
    return digest.hexdigest()


def remove_kept(folder: Path) -> None:
    """Remove the subfolders that are named by a fingerprint, and the folder if nothing else is in it."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r"[0-9a-f]{32}", path.name) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # not empty, or not there
        folder.rmdir()


class Saver:
    """Saves the state of one training when it is time to: after so many steps, or a minute after the last save,
    whichever comes first, but with at most a twentieth of the time spent on it.

    Where several processes train together, one asks `due` and tells the others: their clocks differ.
    """

    def __init__(self, folder: Path, mark: str, every: int, clock: Callable[[], float] = time.monotonic) -> None:
        """every: steps; clock: seconds from some point on."""
        self._folder, self._mark, self._every, self._clock = folder, mark, every, clock
        self._steps, self._end, self._took = 0, clock(), 0.0

    def due(self) -> bool:
        """Whether to save now; to be asked once after every step."""
        self._steps += 1
        waited = self._clock() - self._end
        return waited >= min(self._took / SHARE, LONGEST) and (self._steps >= self._every or waited >= SECONDS)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Save the state after `step` steps."""
        start = self._clock()
        save(self._folder, self._mark, step, state)
        self._steps, self._end = 0, self._clock()
        self._took = self._end - start


def save(folder: Path, mark: str, step: int, state: dict[str, Any]) -> None:
    """Write the state after `step` steps under its fingerprint, whole or not at all. The state may nest dictionaries
    (of strings or integers), lists, tuples (which come back as lists), numbers, texts and tensors (which come back on
    the CPU)."""
    tensors: dict[str, torch.Tensor] = {}
    note = {"fingerprint": mark, "step": step, "state": _take_out(state, tensors)}
    _remove_strays(folder)
    with atomic_file(folder / FILE) as temporary, saving(folder / FILE):
        save_file(tensors, temporary, {"note": json.dumps(note)})


def load(folder: Path, mark: str) -> tuple[int, dict[str, Any]] | None:
    """(step, state) to go on from, or None where there is none.

    Raises InputError when the state was made from other settings or inputs: it is never continued in silence.
    """
    if not (folder / FILE).is_file():
        return None
    try:
        with safe_open(folder / FILE, "pt") as file:
            note = json.loads(file.metadata()["note"])
            mark_there, step = note["fingerprint"], int(note["step"])
            left = set(file.keys())

            def tensor(name: str) -> torch.Tensor:
                left.remove(name)  # each is there once: a note of a few bytes cannot ask for one many times
                return file.get_tensor(name)

            state = _put_back(note["state"], tensor)
    except Exception as error:  # a damaged file can raise nearly anything
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{folder}: damaged training state ({reason}): remove this folder to start anew") from error
    if mark_there != mark:
        raise InputError(f"{folder}: training state of other settings or inputs: remove this folder to start anew")
    return step, state


def clear(folder: Path) -> None:
    """Remove the state of a finished training, and what a killed one had begun to write."""
    (folder / FILE).unlink(missing_ok=True)
    remove_leftovers(folder / FILE)
    _remove_strays(folder)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _remove_strays(folder: Path) -> None:
    """Files that safetensors began, of trainings that were killed before everything was written below one name."""
    for stray in folder.glob(".tmp??????"):
        stray.unlink(missing_ok=True)


def _take_out(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON of a state, whose tensors go into `tensors` and leave their numbers; keys keep their types in pairs."""
    if isinstance(value, torch.Tensor):
        tensors[str(len(tensors))] = value.detach().to("cpu", copy=True).contiguous()  # copied: it may share memory
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, dict):
        return {"pairs": [[key, _take_out(own, tensors)] for key, own in value.items()]}
    if isinstance(value, list | tuple):
        return [_take_out(own, tensors) for own in value]
    return value


def _put_back(value: Any, tensor: Callable[[str], torch.Tensor]) -> Any:
    """The state of its JSON; tensor: gives one by its number."""
    if isinstance(value, dict):
        if "tensor" in value:
            return tensor(value["tensor"])
        return {key: _put_back(own, tensor) for key, own in value["pairs"]}
    if isinstance(value, list):
        return [_put_back(own, tensor) for own in value]
    return value
