"""Leases of GPUs that are not there: processes on two pretended ones never share, wait for each other, and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from silmm import gpus
from silmm.align.launch import Files
from silmm.errors import InputError

# Takes GPUs, writes "name" when it has one and "-name" when it lets go, a line each, all processes into one file.
JOB = """
import os, sys, time
from pathlib import Path
from silmm import gpus
folder, count, seconds, pool = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
held = gpus.take(count, pool, folder, pause=0.01)
log = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(log, "".join(f"{name}\\n" for name in held).encode())
time.sleep(seconds)
os.write(log, "".join(f"-{name}\\n" for name in held).encode())
"""
TWO = ("GPU-a", "GPU-b")


def start(folder: Path, count: int, seconds: float = 0.1, pool: tuple[str, ...] = TWO) -> subprocess.Popen:
    command = [sys.executable, "-c", JOB, str(folder), str(count), str(seconds), *pool]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def events(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().split() if log.exists() else []


def wait_for(folder: Path, number: int) -> list[str]:
    end = time.monotonic() + 30
    while len(found := events(folder)) < number:
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def test_jobs_never_share_and_never_wait_for_each_other_for_ever(tmp_path: Path) -> None:
    counts = [1, 2, 1, 2, 2, 1, 1]
    for job in [start(tmp_path, count) for count in counts]:
        assert job.wait(timeout=60) == 0
    found = events(tmp_path)
    assert len(found) == 2 * sum(counts)
    held: set[str] = set()
    for line in found:
        name = line.removeprefix("-")
        assert (name in held) == line.startswith("-"), found
        held ^= {name}


def test_who_waits_says_for_whom_and_goes_on_when_that_is_killed(tmp_path: Path) -> None:
    first = start(tmp_path, 2, seconds=60)
    assert sorted(wait_for(tmp_path, 2)) == list(TWO)
    second = start(tmp_path, 1, seconds=0)
    assert second.stderr is not None
    said = second.stderr.readline()
    assert said.startswith("silmm: waiting for 1 GPU(s): ") and f"GPU-b is used by process {first.pid}" in said
    assert len(events(tmp_path)) == 2
    os.kill(first.pid, signal.SIGKILL)
    assert second.wait(timeout=30) == 0
    assert events(tmp_path)[2:] == ["GPU-a", "-GPU-a"]
    first.wait()


def test_a_lock_that_was_handed_on_outlives_its_first_holder(tmp_path: Path) -> None:
    (lock,) = gpus.take(1, ["GPU-a"], tmp_path).values()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    os.close(lock)
    waiting = start(tmp_path, 1, 0, ("GPU-a",))
    assert waiting.stderr is not None and "waiting" in waiting.stderr.readline()
    child.communicate(b"\n")
    assert waiting.wait(timeout=30) == 0


def test_other_pools_do_not_wait(tmp_path: Path) -> None:
    held = gpus.take(1, ["GPU-a"], tmp_path)
    assert list(gpus.take(1, ["GPU-a", "GPU-b"], tmp_path)) == ["GPU-b"]
    os.close(held["GPU-a"])
    assert list(gpus.take(1, ["GPU-a"], tmp_path)) == ["GPU-a"]


@pytest.mark.parametrize(
    ("environ", "pool"),
    [
        ({}, ["GPU-a1", "GPU-b2"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["GPU-b2"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b, 0,1"}, ["GPU-b2", "GPU-a1"]),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, ["MIG-1"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"SILMM_GPU": "share"}, []),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0"}, []),
    ],
)
def test_the_pool(environ: dict[str, str], pool: list[str]) -> None:
    assert gpus.pool_of(environ, ["GPU-a1", "GPU-b2"]) == pool


@pytest.mark.parametrize("environ", [{"SILMM_GPU": "yes"}, {"CUDA_VISIBLE_DEVICES": "../x"}])
def test_what_cannot_be_meant_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match="expected"):
        gpus.pool_of(environ, ["GPU-a1"])


def test_devices_are_named_by_uuid_in_the_order_of_their_buses(tmp_path: Path) -> None:
    driver, files = tmp_path / "gpus", tmp_path / "dev"
    files.mkdir()
    assert gpus.devices(driver, files) == []
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (files / name).touch()
    assert gpus.devices(driver, files) == ["0", "1"]
    for bus, minor, uuid in (("0000:02:00.0", 0, "GPU-late"), ("0000:01:00.0", 1, "GPU-early")):
        (driver / bus).mkdir(parents=True)
        text = f"Model: \t\t Some GPU\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\nDevice Minor: \t {minor}\n"
        (driver / bus / "information").write_text(text)
    assert gpus.devices(driver, files) == ["GPU-early", "GPU-late"]
    (files / "nvidia0").unlink()  # a container that may not use it
    assert gpus.devices(driver, files) == ["GPU-early"]


def test_a_lease_shows_cuda_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SILMM_GPU", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, "devices", lambda: list(TWO))
    monkeypatch.setattr(gpus, "own_folder", lambda parent: tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(InputError, match="3 GPUs are asked for, 2 there"):
        gpus.lease.__wrapped__(3)
    files = gpus.lease.__wrapped__(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b" and len(files) == 2
    for file in files:
        os.close(file)


def test_somebody_elses_folder_is_refused(tmp_path: Path) -> None:
    folder = gpus.own_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700 and gpus.own_folder(tmp_path) == folder
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(InputError, match="belongs to another user"):
        gpus.own_folder(tmp_path)


def test_files_are_kept_by_whoever_unpickles_them() -> None:
    assert Files([]).__reduce__()[1] == ()
