"""What lets a run follow on one that was killed: no job outlives its run, no file has two writers, and the locks that
Snakemake leaves behind do not stand in the way.

All of it rests on what the kernel undoes when a process ends, however it ends (process handles, `flock`), so that
nothing is left to clean up. Where a file system has no locks, writers keep to temporary names of their own, and say so.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path

from silmm.atomic import own_names


def end_with(pid: int) -> None:
    """End this process, by a signal that nothing delays, as soon as process `pid` has ended.

    Snakemake's jobs are its children's children: if it is killed, they would go on, and write what the next Snakemake
    has given to jobs of its own.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        _end(pid)
        return
    except (AttributeError, OSError):  # not Linux, or an old one
        return

    def wait() -> None:
        select.select([handle], [], [])
        _end(pid)

    threading.Thread(target=wait, daemon=True).start()


def _end(pid: int) -> None:
    print(f"silmm: process {pid}, which wanted this, has ended: ending, too", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Be the one process that makes `path`; another one is waited for. On a cluster, jobs of a Snakemake that was
    killed go on, and the next one submits them again. Without locks (NFS with `nolock`, Lustre without `flock`)
    there may be two: each writes whole files, and the last one's stay."""
    lock = path.with_name(f".lock-{path.name}")
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle, alone = _locked(lock)
    try:
        with nullcontext() if alone else own_names():
            yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)


def _locked(lock: Path) -> tuple[int, bool]:
    """An open handle of the file `lock`, and whether it is certain that no other process has locked it."""
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = f"silmm: another process is writing {lock.name.removeprefix('.lock-')}: waiting for its end"
                print(text, file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            _warn(str(lock.parent), error.strerror)
            return handle, False
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle, True
        os.close(handle)  # its last holder has removed it


@cache
def _warn(folder: str, reason: str) -> None:
    text = f"silmm: {folder}: no file locks here ({reason}): see to it yourself that no other command writes the same"
    print(f"{text} output; each one's files stay whole", file=sys.stderr, flush=True)


def join_runs(folder: Path) -> int | None:
    """Be one of the Snakemakes at work in a folder, whose `.snakemake` is given; the handle must stay open as long.

    The first of them removes the locks of one that was killed: nobody else can hold any. Those from another machine
    stay, since not every shared file system tells machines of each other's locks: then Snakemake asks for --unlock.
    """
    try:
        folder.mkdir(exist_ok=True)
        handle = os.open(folder / "silmm.runs", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            _remove_locks(folder / "locks", handle)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:  # a read-only folder, or a file system without locks: Snakemake's own words will do
        return None
    return handle


def _remove_locks(locks: Path, handle: int) -> None:
    here = socket.gethostname()
    left = list(locks.glob("*.lock"))
    if left and os.pread(handle, 1000, 0).decode() != here:
        return
    for lock in left:
        lock.unlink(missing_ok=True)
    os.ftruncate(handle, 0)
    os.pwrite(handle, here.encode(), 0)
