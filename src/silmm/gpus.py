"""Which GPU is whose: two jobs on one machine never use the same one unless they are told to (docs/many_gpus.md).

A job holds a lock (flock) on a file named after its GPU. The lock belongs to the process that uses the GPU and to those
that it handed the open file to; the kernel frees it when the last of them is gone, however it went. A batch system that
gave a job its GPUs has done this already.
"""

from __future__ import annotations

import fcntl
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from silmm.errors import InputError

SHARE = "SILMM_GPU"  # environment: `share` takes GPUs without asking who else does
VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER, DEVICES = Path("/proc/driver/nvidia/gpus"), Path("/dev")
PAUSE = 1.0  # seconds between two looks at GPUs that are taken


@cache
def lease(count: int = 1) -> tuple[int, ...]:
    """Hold so many GPUs for as long as this process lives, and show CUDA no others; waits while too few are free.

    To be called before anything asks CUDA for its devices. Returns the open files of the locks, for `multiprocessing`
    to hand on; none where there is no GPU, a batch system gave them, or SILMM_GPU=share.

    Raises InputError where there are some, but fewer than `count`, or where SILMM_GPU is something else.
    """
    pool = pool_of(os.environ, devices())
    if not pool:
        return ()
    if len(pool) < count:
        raise InputError(f"{count} GPUs are asked for, {len(pool)} there: {', '.join(pool)} ({VISIBLE} restricts them)")
    held = take(count, pool, own_folder(Path("/tmp")))  # not TMPDIR, which may differ between two jobs
    os.environ[VISIBLE] = ",".join(held)
    return tuple(held.values())


def devices(driver: Path = DRIVER, files: Path = DEVICES) -> list[str]:
    """Names of this machine's GPUs, in the order of their PCI buses, as `nvidia-smi` numbers them: UUIDs, or numbers
    where the driver does not tell."""
    there = {path.name.removeprefix("nvidia") for path in files.glob("nvidia[0-9]*")}
    found = []
    for path in sorted(driver.glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        if fields.get("Device Minor") in there and fields.get("GPU UUID", "").startswith("GPU-"):
            found.append(fields["GPU UUID"])
    return found if len(found) == len(there) else sorted(there, key=int)


def pool_of(environ: Mapping[str, str], found: Sequence[str]) -> list[str]:
    """The GPUs that a job may choose from, by the names that `found` has for them; empty where it need not choose."""
    mode = environ.get(SHARE, "")
    if mode not in ("", "share"):
        raise InputError(f"{SHARE}: expected share, or nothing, given {mode!r}")
    if mode or "SLURM_JOB_ID" in environ:
        return []
    if VISIBLE not in environ:
        return list(found)
    return list(dict.fromkeys(_named(word.strip(), found) for word in environ[VISIBLE].split(",") if _meant(word)))


def _meant(word: str) -> bool:
    return word.strip() not in ("", "-1", "NoDevFiles")


def _named(word: str, found: Sequence[str]) -> str:
    """A GPU that CUDA_VISIBLE_DEVICES names by its number or by how its UUID begins."""
    if word.isdecimal():
        return found[int(word)] if int(word) < len(found) else word
    if not re.fullmatch(r"[A-Za-z0-9/-]+", word):
        raise InputError(f"{VISIBLE}: expected numbers or UUIDs of GPUs, given {word!r}")
    return next((name for name in found if name.startswith(word)), word)


def own_folder(parent: Path) -> Path:
    """This user's folder of locks. Raises InputError where somebody else made it."""
    folder = parent / f"silmm-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder}: belongs to another user: remove it")
    return folder


def take(count: int, pool: Sequence[str], folder: Path, *, pause: float = PAUSE) -> dict[str, int]:
    """Lock so many GPUs of the pool, all at once or none; waits, and says for whom. Returns the open file of each."""
    waiting = False
    while True:
        held: dict[str, int] = {}
        with _turn(folder):  # one job at a time tries, so that two who want two do not stop each other
            for name in pool:
                if len(held) < count and (lock := _lock(_file(folder, name))) is not None:
                    held[name] = lock
        if len(held) == count:
            return held
        for lock in held.values():
            os.close(lock)
        if not waiting:
            taken = [f"{name} is used by {_holder(_file(folder, name))}" for name in pool if name not in held]
            print(f"silmm: waiting for {count} GPU(s): {', '.join(taken)}", file=sys.stderr, flush=True)
            waiting = True
        time.sleep(pause)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    gate = os.open(folder / "turn", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _flock(gate, fcntl.LOCK_EX, folder)
        yield
    finally:
        os.close(gate)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '_')}.lock"


def _lock(file: Path) -> int | None:
    """The open file, locked, with the name of this process in it; None where another one has it."""
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, file.parent)
    except BlockingIOError:
        os.close(lock)
        return None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} ({' '.join(sys.argv[1:2]) or 'python'})\n".encode(), 0)
    return lock


def _flock(handle: int, how: int, folder: Path) -> None:
    """`flock`; BlockingIOError where another process has it, InputError where the file system has no locks."""
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        raise
    except OSError as error:
        why = f"{folder}: no file locks here ({error.strerror})"
        raise InputError(f"{why}: see to it that nobody else uses your GPUs, then give {SHARE}=share") from None


def _holder(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace").strip() or "another process"
