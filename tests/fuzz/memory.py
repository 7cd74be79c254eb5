"""How much memory a process takes, and a limit on it: Linux's own numbers; elsewhere nothing is limited."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GROWTH, TIMES = 256 << 20, 100  # bytes that reading a file may take: so many (libraries load), and times its size
RESIDENT = 3 << 30  # bytes that a process of the drills may have
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """The most resident memory since this was made."""

    def __init__(self) -> None:
        if _RESET.exists():
            _RESET.write_text("5")  # forgets the highest number so far
        self._before = _bytes("VmRSS")

    def growth(self) -> int:
        """Bytes beyond what there was at first."""
        return self.resident() - self._before

    @staticmethod
    def resident() -> int:
        """The most bytes since the last `Peak` was made."""
        return _bytes("VmHWM")


@contextmanager
def room(size: int) -> Iterator[None]:
    """At most so many bytes of data (heap and anonymous maps, touched or not) for the process: an allocation beyond
    fails, before the machine has none left."""
    old = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, old)


def most_of_all() -> int:
    """The most bytes that this process, or one of those that it waited for, ever had."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) << 10


def _bytes(name: str) -> int:
    """A line of /proc/self/status, which counts in KiB."""
    if not _STATUS.exists():
        return 0
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) << 10
