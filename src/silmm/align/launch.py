"""Several processes on this machine that do one thing together, and none of which outlives the others."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing as mp

from silmm.align.team import Place
from silmm.errors import InputError


class Files:
    """Open files, which the processes that are started hold open, too."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, tuple(DupFd(number) for number in self.numbers)


def _reopened(*copies: Any) -> Files:
    return Files([copy.detach() for copy in copies])


def together(work: Callable[[Place], None], size: int, *, files: Sequence[int] = ()) -> None:
    """Call `work` in so many new processes at once; it must be a function that pickle knows, or a partial of one.

    A process that fails ends them all, and so does the end of this one, by whatever means. What the user can mend
    (InputError, OSError) is raised here, too. `files`: open files that the processes hold.
    """
    with tempfile.TemporaryDirectory(prefix="silmm-") as folder:
        errors = mp.get_context("spawn").SimpleQueue()
        rendezvous = f"file://{Path(folder).resolve()}/meet"
        try:
            mp.spawn(_member, (size, rendezvous, work, errors, Files(files), os.getpid()), nprocs=size)
        except mp.ProcessExitedException:
            if errors.empty():
                raise
            raise errors.get() from None


def _member(
    rank: int, size: int, rendezvous: str, work: Callable[[Place], None], errors: Any, files: Files, parent: int
) -> None:
    """One process. A signal that can be caught would not do: it may wait for another process for ever."""
    mp._prctl_pr_set_pdeathsig(signal.SIGKILL)  # type: ignore[attr-defined]
    if os.getppid() != parent:  # gone before that
        os._exit(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), LOCAL_WORLD_SIZE=str(size))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    try:
        work(Place(rank, size, rendezvous))
    except (InputError, OSError) as error:
        errors.put(error)
        sys.exit(2)
