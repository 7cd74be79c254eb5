"""What lets a run follow on one that was killed, without Snakemake where that is possible."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from silmm import takeover

from .workflow.conftest import ROOT, run_snakemake

SLEEP = "import time; time.sleep(300)"
FOLLOW = f"import sys; from silmm import takeover; takeover.end_with(int(sys.argv[1])); print(flush=True); {SLEEP}"
WRITE = (
    "import sys; from pathlib import Path; from silmm import takeover; "
    f"hold = takeover.sole_writer(Path(sys.argv[1])); hold.__enter__(); print(flush=True); {SLEEP}"
)


def python(program: str, *words: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_job_ends_with_the_process_that_wanted_it() -> None:
    with python(SLEEP) as run, python(FOLLOW, run.pid) as job:
        assert job.stdout and job.stdout.readline() and job.poll() is None  # it follows, and works
        run.kill()
        run.wait()
        assert job.wait(timeout=60) == -signal.SIGKILL
        assert job.stderr and b"has ended: ending, too" in job.stderr.read()


def test_a_job_whose_run_is_gone_before_does_not_begin() -> None:
    with python("") as run:
        run.wait()
    with python(FOLLOW, run.pid) as job:
        assert job.wait(timeout=60) == -signal.SIGKILL
        assert job.stdout and not job.stdout.read()


def test_a_second_writer_waits_until_the_first_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "new/ckpt"
    inside = threading.Event()

    def write() -> None:
        with takeover.sole_writer(out):
            inside.set()

    with python(WRITE, out) as first:
        assert first.stdout and first.stdout.readline()
        second = threading.Thread(target=write)
        second.start()
        assert not inside.wait(0.3)
        first.kill()
        second.join(60)
    assert inside.is_set()
    assert not list(out.parent.iterdir())


def test_writers_that_wait_go_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock's file is removed by each of them, while others wait for it."""
    inside, most = 0, []

    def write() -> None:
        nonlocal inside
        for _ in range(20):
            with takeover.sole_writer(tmp_path / "ckpt"):
                inside += 1
                most.append(inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1] * 80
    assert not list(tmp_path.iterdir())
    assert set(capsys.readouterr().err.splitlines()) <= {"silmm: another process is writing ckpt: waiting for its end"}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The file with which a Snakemake says what it makes."""
    file = tmp_path / ".snakemake/locks/0.output.lock"
    file.parent.mkdir(parents=True)
    return file


def test_locks_of_a_killed_run_are_removed_by_the_next_one(tmp_path: Path, lock: Path) -> None:
    run = takeover.join_runs(lock.parents[1])
    assert run is not None
    lock.touch()
    other = takeover.join_runs(lock.parents[1])
    assert other is not None and lock.exists()  # the first is at work
    os.close(run)
    third = takeover.join_runs(lock.parents[1])
    assert third is not None and lock.exists()  # so is the second
    os.close(other)
    os.close(third)
    last = takeover.join_runs(lock.parents[1])
    assert last is not None and not lock.exists()
    os.close(last)


def test_locks_from_another_machine_or_program_stay(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock.touch()
    for name in ("here", "there"):
        monkeypatch.setattr(takeover.socket, "gethostname", lambda name=name: name)
        run = takeover.join_runs(lock.parents[1])
        assert run is not None and lock.exists()
        os.close(run)
        if name == "here":
            lock.unlink()
            run = takeover.join_runs(lock.parents[1])  # it leaves its name
            assert run is not None
            os.close(run)
            lock.touch()


@pytest.mark.slow
def test_two_snakemakes_at_a_time_are_refused_as_ever(tmp_path: Path, lock: Path) -> None:
    run = takeover.join_runs(lock.parents[1])
    assert run is not None
    base = "results/smoke/discrete/seed0/base/ckpt"
    lock.write_text(f"{base}\n")
    words = (base, "--cores", "1", "--configfile", "config/smoke.yaml")
    refused = run_snakemake(ROOT, tmp_path, *words, check=False)
    os.close(run)
    assert refused.returncode == 1 and "Directory cannot be locked" in refused.stdout
    assert lock.exists()
