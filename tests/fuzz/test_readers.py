"""No file makes a reader crash or hang: it is read, or refused in one line. A thousand files here, a hundred thousand
in `make drills`, the same ones every time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from silmm.errors import InputError
from tests.fuzz.memory import GROWTH, RESIDENT, TIMES, Peak, room
from tests.fuzz.readers import Reader, readers
from tests.traps.conftest import Files, ckpt, iteration, tiny, torch_settings

__all__ = ["ckpt", "iteration", "tiny", "torch_settings"]
SECONDS = 10  # of the processor: more is a hang


def attack(name: str, reader: Reader, cases: int) -> int:
    """Read so many files; the number of those that were read. AssertionError for the first that is neither read nor
    refused as it should be."""
    read, peak = 0, Peak()

    @settings(
        max_examples=cases, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(reader.content)
    def try_one(content: bytes) -> None:
        nonlocal read
        reader.file.write_bytes(content)
        start = time.process_time()
        try:
            reader.read(reader.file)
            read += 1
        except InputError as error:
            message = str(error)
            assert message and "\n" not in message, f"{name}: {message!r}"
            assert len(message) < 1500, f"{name}: {message!r}"
        assert time.process_time() - start < SECONDS, f"{name} took too long"
        limit = GROWTH + TIMES * len(content)
        assert peak.growth() < limit, f"{name} took {peak.growth() >> 20} MiB for {len(content):,} bytes"

    try_one()
    return read


def attack_all(made: Files, ckpt: Path, tmp: Path, cases: int) -> tuple[int, int, int]:
    """Divide the cases among all readers; how many there are, how many files were read, and the most memory that the
    process had, in bytes."""
    found = dict(readers(made, ckpt, tmp))
    each = -(-cases // len(found))
    read, most, failed = 0, 0, []
    with room(RESIDENT):
        for name, reader in found.items():
            start = time.monotonic()
            try:
                read += attack(name, reader, each)
            except Exception as error:  # all readers are tried, so that one run shows all that is to be mended
                notes = getattr(error, "__notes__", "")
                failed.append(f"{name}: {type(error).__name__}: {str(error)[:500]} {notes}"[:3000])
            most = max(most, Peak.resident())
            print(f"{name}: {each} files, {time.monotonic() - start:.0f} s, {most >> 20} MiB so far", flush=True)
    assert failed == []
    assert most < RESIDENT
    return len(found), read, most


def test_a_thousand_files(iteration: Files, ckpt: Path, tmp_path: Path) -> None:
    count, read, _ = attack_all(iteration, ckpt, tmp_path, 1000)
    assert count >= 25
    assert 0 < read < 1000


@pytest.mark.drill
def test_a_hundred_thousand_files(
    iteration: Files, ckpt: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    count, read, most = attack_all(iteration, ckpt, tmp_path, 100_000)
    record_property(
        "figure",
        f"100,000 files, {count} readers, {read:,} read, the others refused in one line, within {most / 2**30:.1f} GiB",
    )
