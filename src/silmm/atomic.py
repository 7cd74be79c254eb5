"""Files and folders that appear under their final name whole, or not at all.

Everything is written under a temporary name in the same folder, flushed to the disk and renamed. A
process killed in between leaves only the temporary name, which the next writer of the same file removes.
What stands there is replaced only if it is the command's own (`silmm.outputs`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silmm import outputs

_PREFIX = ".partial-"  # a prefix, so that the temporary name keeps the suffix that libraries go by
_SYNC_ONE_BY_ONE = 32  # an fsync costs milliseconds a file: a folder with more files is synced in one call


@contextmanager
def atomic_file(path: Path, kind: outputs.Kind | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it is renamed to `path`, on an error it is removed.

    kind: what the file at `path`, where there is one, must be; none for files whose names no user chooses. Raises
    InputError where it is something else.
    """
    path = Path(path)
    if kind is not None:
        outputs.check_file(path, kind)
    temporary = _fresh(path)
    try:
        yield temporary
        _sync(temporary)
        if kind is not None:
            outputs.check_file(path, kind)
        temporary.replace(path)
    except BaseException:
        _remove(temporary)
        raise
    _sync(path.parent)


@contextmanager
def atomic_dir(path: Path, command: str) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it is marked as the command's and becomes `path`.

    What the same command wrote there before is replaced. Raises InputError, before and after, where `path` holds
    anything else.
    """
    path = Path(path)
    check_dir(path, command)
    temporary = _fresh(path)
    temporary.mkdir()
    try:
        yield temporary
        outputs.mark(temporary, command)
        files = [p for p in temporary.rglob("*") if p.is_file()]
        if len(files) > _SYNC_ONE_BY_ONE:
            os.sync()
        else:
            for file in files:
                _sync(file)
        check_dir(path, command)
        old = _former_name(path)
        _remove(old)
        if path.exists():  # a folder cannot be renamed over a full one
            path.rename(old)
        temporary.rename(path)
        _remove(old)
    except BaseException:
        _remove(temporary)
        _recover(path)
        raise
    _sync(path.parent)


def temporary_name(path: Path) -> Path:
    """What `path` is called while it is written."""
    return path.with_name(_PREFIX + path.name)


def check_dir(path: Path, command: str) -> None:
    """Raise InputError where `command` may not write the folder `path` (`outputs.check_folder`).

    A former folder gets its name back where a process was killed before the new one stood there: it is the only copy.
    """
    outputs.check_folder(path, command)
    if _recover(path):
        outputs.check_folder(path, command)
    outputs.check_folder(_former_name(path), command)


def _recover(path: Path) -> bool:
    """Give a former folder its name back if nothing else has it."""
    former = _former_name(path)
    lost = former.exists() and not path.exists()
    if lost:
        former.rename(path)
    return lost


def _former_name(path: Path) -> Path:
    """What a folder that is there is called while the new one takes its place."""
    return path.with_name(_PREFIX + "old-" + path.name)


def _fresh(path: Path) -> Path:
    """The temporary name of `path`, with the leftover of a killed writer removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    _remove(temporary)
    return temporary


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush one file, or the entries of one folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
