"""Several processes on this machine that do one thing together, and none of which outlives the others."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import multiprocessing as mp

from silmm.align.team import Place
from silmm.errors import InputError, LostProcessError

POLL = 1.0  # seconds between two looks at the processes, and between two signs of life of each
START = 120.0  # seconds more that a process may take for its first sign: it imports torch
WORD = 60.0  # seconds of silence, at most, until it is mentioned
GRACE = 3.0  # seconds for the others to end by themselves: they may know more
_MOST = 30_000  # characters of a report: a pipe takes it before anybody reads
_AGAIN = "the others were ended; the same command goes on from the last state"


class Files:
    """Open files, which the processes that are started hold open, too."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, tuple(DupFd(number) for number in self.numbers)


def _reopened(*copies: Any) -> Files:
    return Files([copy.detach() for copy in copies])


def together(work: Callable[[Place], None], size: int, *, files: Sequence[int] = (), timeout: float = 600.0) -> None:
    """Call `work` in so many new processes at once; it must be a function that pickle knows, or a partial of one.

    A process that fails ends them all, and so does the end of this one, by whatever means. What the user can mend
    (InputError, OSError) is raised here, too; any other error as a RuntimeError with its traceback. `files`: open files
    that the processes hold. `timeout`: seconds.

    Raises LostProcessError, which names the rank, where one is killed, gives no sign of life for as long as `timeout`,
    or lets the others wait as long.
    """
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="silmm-") as name:
        folder = Path(name).resolve()
        given = (size, folder, work, Files(files), os.getpid())
        signs_N2 = _signs(folder, size, "w+")
        pipes = [context.Pipe(duplex=False) for _ in range(size)]
        members = [context.Process(target=_member, args=(rank, *given, pipes[rank][1])) for rank in range(size)]
        started: list[Any] = []
        try:
            for member in members:
                member.start()
                started.append(member)
            for _, end in pipes:
                end.close()
            hanging = _watch(members, signs_N2, timeout)
            codes = [member.exitcode for member in members]
        finally:
            for member in started:
                member.kill()
            for member in started:
                member.join()
        _judge(members, hanging, codes, [reports for reports, _ in pipes])


def _signs(folder: Path, size: int, mode: Any) -> np.ndarray:
    """Two counters of each process, int64 `[N, 2]`, which all share: that it lives, and that it gets further."""
    return np.memmap(folder / "signs", np.int64, mode, shape=(size, 2))


def _watch(members: Sequence[Any], signs_N2: np.ndarray, timeout: float) -> str:
    """Wait until all have ended, or one has failed; what is wrong with those that hang, or nothing.

    Silence is what passes while this process looks: a machine, or a job, that was put to sleep as a whole hangs not.
    """
    seen_N2 = signs_N2.copy()
    silent_N2 = np.full(signs_N2.shape, -START)
    last, told = time.monotonic(), False
    while alive := [rank for rank, member in enumerate(members) if member.exitcode is None]:
        wait([members[rank].sentinel for rank in alive], POLL)
        if any(member.exitcode for member in members):
            _wait_for_all(members, GRACE)
            return ""
        now = time.monotonic()
        silent_N2 += min(now - last, 2 * POLL)
        last = now
        silent_N2[signs_N2 != seen_N2] = 0.0
        seen_N2 = signs_N2.copy()
        still = [rank for rank in alive if members[rank].exitcode is None]
        frozen = [rank for rank in still if silent_N2[rank, 0] >= min(WORD, timeout / 2)]
        if frozen and not told:
            text = (
                f"{_named(members, frozen)} gave no sign of life lately: this ends after {timeout:g} s (align.timeout)"
            )
            print(f"silmm: {text}", file=sys.stderr, flush=True)
        told = bool(frozen)
        if lost := [rank for rank in frozen if silent_N2[rank, 0] >= timeout]:
            return f"{_named(members, lost)} gave no sign of life for {timeout:g} s (align.timeout): stopped or frozen"
        if still and all(silent_N2[rank, 1] >= timeout for rank in still):
            behind = min(seen_N2[rank, 1] for rank in still)
            lost = [rank for rank in still if seen_N2[rank, 1] == behind]
            return f"{_named(members, lost)} got no further for {timeout:g} s (align.timeout)"
    return ""


def _wait_for_all(members: Sequence[Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and (alive := [m for m in members if m.exitcode is None]):
        wait([member.sentinel for member in alive], left)


def _named(members: Sequence[Any], ranks: Sequence[int]) -> str:
    return ", ".join(f"rank {rank} of {len(members)} (process {members[rank].pid})" for rank in ranks)


def _judge(members: Sequence[Any], hanging: str, codes: Sequence[int | None], pipes: Sequence[Any]) -> None:
    """Raise for what went wrong, the cause before its consequences: a killed process is why others lose it."""
    if hanging:
        raise LostProcessError(f"{hanging}: {_AGAIN}")
    if killed := [rank for rank, code in enumerate(codes) if code is not None and code < 0]:
        first = next((rank for rank in killed if codes[rank] == -signal.SIGKILL), killed[0])
        name = signal.Signals(-(codes[first] or 0)).name
        why = ", from outside or because memory was out" if name == "SIGKILL" else ""
        raise LostProcessError(f"{_named(members, [first])} was killed by {name}{why}: {_AGAIN}")
    reports = []
    for pipe in pipes:
        with suppress(OSError, EOFError):  # it had nothing to say
            reports.append(pipe.recv())
    if reports:
        _, _, report = min(reports, key=lambda report: report[:2])
        raise RuntimeError(f"one of several processes failed:\n{report}") if isinstance(report, str) else report
    if failed := [rank for rank, code in enumerate(codes) if code]:
        raise LostProcessError(f"{_named(members, failed[:1])} ended with exit code {codes[failed[0]]}: {_AGAIN}")


def _member(
    rank: int, size: int, folder: Path, work: Callable[[Place], None], files: Files, parent: int, report: Any
) -> None:
    """One process. A signal that can be caught would not do: it may wait for another process for ever."""
    mp._prctl_pr_set_pdeathsig(signal.SIGKILL)  # type: ignore[attr-defined]
    if os.getppid() != parent:  # gone before that
        os._exit(1)
    own_2 = _signs(folder, size, "r+")[rank]
    threading.Thread(target=_live, args=(own_2,), daemon=True).start()
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    try:
        work(Place(rank, size, f"file://{folder}/meet", partial(_count, own_2, 1)))
    except KeyboardInterrupt:
        sys.exit(1)
    except Exception as error:
        mendable = isinstance(error, InputError | OSError)
        text = traceback.format_exc()[-_MOST:]
        report.send((not mendable, time.monotonic(), error if mendable else text))  # in the order in which they count
        sys.exit(2 if mendable else 1)


def _count(own_2: np.ndarray, which: int) -> None:
    own_2[which] += 1


def _live(own_2: np.ndarray) -> None:
    while True:
        _count(own_2, 0)
        time.sleep(POLL)
