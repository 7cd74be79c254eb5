"""Files and folders that appear under their final name whole, or not at all.

Everything is written in a temporary folder beside it, flushed to the disk and renamed. A process killed in between
leaves only that folder, which the next writer of the same file removes, with all that a library put into it under names
of its own: safetensors 0.8 writes beside the file that it is asked for, and renames.
What stands there is replaced only if it is the command's own (`silmm.outputs`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from silmm import outputs

_PREFIX = ".partial-"
_WRITER = "SILMM_WRITER"  # environment, as processes that train together share it: machine and process in such names
_SYNC_ONE_BY_ONE = 32  # an fsync costs milliseconds a file: a folder with more files is synced in one call
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextmanager
def atomic_file(path: Path, kind: outputs.Kind | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it is renamed to `path`, on an error it is removed.

    kind: what the file at `path`, where there is one, must be; none for files whose names no user chooses.

    Raises InputError where it is something else, and OSError, which names `path`, where the disk is full or may not be
    written to.
    """
    path = Path(path)
    if kind is not None:
        outputs.check_file(path, kind)
    folder = _fresh(path)
    try:
        with writing(path):
            yield folder / path.name
            _flush(folder)
            if kind is not None:
                outputs.check_file(path, kind)
            (folder / path.name).replace(path)
    finally:
        _remove(folder)
    _sync(path.parent)


@contextmanager
def atomic_dir(path: Path, command: str) -> Iterator[Path]:
    """Yield a temporary folder to fill; on success it is marked as the command's and becomes `path`.

    What the same command wrote there before is replaced.

    Raises InputError, before and after, where `path` holds anything else, and OSError, which names `path`, where the
    disk is full or may not be written to.
    """
    path = Path(path)
    check_dir(path, command)
    temporary = _fresh(path)
    try:
        with writing(path):
            yield temporary
            outputs.mark(temporary, command)
            _flush(temporary)
            check_dir(path, command)
            _replace(temporary, path)
    except BaseException:
        _remove(temporary)
        _recover(path)
        raise
    _sync(path.parent)


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
    return path.with_name(temporary_name(path).name.removesuffix(path.name) + "old-" + path.name)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Around what writes `path`, or below its temporary name: let the OSError of a full disk name it. Python names no
    file, or the one that is copied, or a temporary one."""
    try:
        yield
    except OSError as error:
        ours = error.filename is None or str(error.filename).startswith(str(temporary_name(path)))
        if error.errno in _FULL and (ours or error.filename2 is not None):
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise


@contextmanager
def own_names() -> Iterator[None]:
    """Inside, temporary names carry the names of this machine and process: for a file system without locks, where
    nothing else keeps two writers of one file from writing into each other's."""
    before = os.environ.get(_WRITER)
    os.environ[_WRITER] = before or f"{socket.gethostname()}-{os.getpid()}-"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WRITER]


def temporary_name(path: Path) -> Path:
    """The folder in which `path` is written, or which becomes it."""
    return path.with_name(f"{_PREFIX}{os.environ.get(_WRITER, '')}{path.name}")


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of `path` have left. Of several machines without locks, each removes its own."""
    _remove(temporary_name(path))
    own = re.compile(rf"{re.escape(_PREFIX + socket.gethostname())}-(\d+)-(old-)?{re.escape(path.name)}")
    for found in filter(None, map(own.fullmatch, os.listdir(path.parent) if path.parent.is_dir() else ())):
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            if not found[2] or path.exists():  # what had to step aside may be the only one
                _remove(path.with_name(found[0]))
        except PermissionError:  # it lives, and is another user's
            continue


def _fresh(path: Path) -> Path:
    """The temporary folder of `path`, empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = temporary_name(path)
    with writing(path):
        temporary.mkdir()
    return temporary


def _flush(folder: Path) -> None:
    """All below a folder to the disk, with the rights of new files: some libraries write for their user alone."""
    mode = stat.S_IMODE(folder.stat().st_mode)  # as the umask left it, or the parent's access list
    members = [member for member in folder.rglob("*") if not member.is_symlink()]
    for member in members:
        right = mode if member.is_dir() else mode & 0o666
        if stat.S_IMODE(member.stat().st_mode) != right:
            with suppress(OSError):  # a file system that knows no rights
                member.chmod(right)
    files = [member for member in members if member.is_file()]
    if len(files) > _SYNC_ONE_BY_ONE:
        os.sync()
    else:
        for file in files:
            _sync(file)


def _replace(temporary: Path, path: Path) -> None:
    """Rename a folder to `path`: not over a full one, which has to step aside."""
    old = _former_name(path)
    while True:
        _remove(old)
        with suppress(FileNotFoundError):
            path.rename(old)
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:  # else another writer came first, where there are no locks
            break
    _remove(old)


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
