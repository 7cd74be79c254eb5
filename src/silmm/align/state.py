"""Resumable training state: kept outside the workflow's outputs, so that a failed job does not lose it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from silmm.errors import InputError
from silmm.records import atomic_dir


def fingerprint(settings: dict[str, Any], files: list[Path]) -> str:
    """A hash of settings and input files: state made from others must not be continued."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for path in files:
        members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for member in members:
            digest.update(str(member.relative_to(path) if path.is_dir() else member.name).encode())
            digest.update(member.read_bytes())
    return digest.hexdigest()


def save(folder: Path, mark: str, step: int, state: dict[str, Any]) -> None:
    """Write the state after `step` steps under its fingerprint, whole or not at all."""
    with atomic_dir(folder) as new:
        torch.save(state, new / "state.pt")
        (new / "state.json").write_text(json.dumps({"fingerprint": mark, "step": step}) + "\n", encoding="utf-8")


def load(folder: Path, mark: str) -> tuple[int, dict[str, Any]] | None:
    """(step, state) to go on from, or None where there is none.

    Raises InputError when the state was made from other settings or inputs: it is never continued in silence.
    """
    note = folder / "state.json"
    if not note.is_file():
        return None
    try:
        meta = json.loads(note.read_text(encoding="utf-8"))
        state = torch.load(folder / "state.pt", weights_only=True)
        mark_there, step = meta["fingerprint"], int(meta["step"])
    except Exception as error:  # unpickling a damaged file can raise nearly anything
        raise InputError(f"{folder}: damaged training state ({error}): remove this folder to start anew") from error
    if mark_there != mark:
        raise InputError(f"{folder}: training state of other settings or inputs: remove this folder to start anew")
    return step, state


def clear(folder: Path) -> None:
    """Remove the state of a finished training."""
    for name in ("state.pt", "state.json"):
        (folder / name).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
