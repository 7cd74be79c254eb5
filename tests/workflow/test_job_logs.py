"""A failed job's log is text, and its last line says why, or what the job had asked for."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.cli import parse_set_resources

from silmm import job_logs

ASKED = "it had asked for 3000 MB"


def last(log: Path) -> str:
    return log.read_text(encoding="utf-8").splitlines()[-1]


@pytest.mark.parametrize(
    "content", [b"", b"align: gamma 3\n", b"align:  10%|#   | 1/10\r", "align:  12%|█".encode()[:-1], b"x" * 5000]
)
def test_a_log_that_says_nothing_ends_with_what_was_asked_for(content: bytes, tmp_path: Path) -> None:
    log = tmp_path / "logs/align.log"
    if content:
        log.parent.mkdir()
        log.write_bytes(content)
    job_logs.finish(log, ASKED)
    assert last(log).startswith("silmm: this job ended without saying why") and ASKED in last(log)
    before = content.decode(errors="backslashreplace").splitlines()
    assert log.read_text(encoding="utf-8").splitlines()[:-1] == before


@pytest.mark.parametrize(
    "line",
    [
        "silmm align: error: pairs.parquet: no such file", "ValueError: what", "torch.OutOfMemoryError: CUDA",
        "silmm: process 12, which wanted this, has ended: ending, too",
    ],
)  # fmt: skip
def test_a_reason_stays_the_last_line(line: str, tmp_path: Path) -> None:
    log = tmp_path / "align.log"
    log.write_text(f"align:  10%|#   | 1/10\r\n{line}\n")
    job_logs.finish(log, ASKED)
    assert last(log) == line


class Resources(dict):  # type: ignore[type-arg]
    """Of a job."""


def workflow_of(tmp_path: Path, by_hand: str = "") -> tuple[Any, Any]:
    """A workflow with one failed job at its second attempt, and the record with which Snakemake reports it."""
    out = tmp_path / "ckpt"
    job = SimpleNamespace(
        rule=SimpleNamespace(name="align"), log=[str(tmp_path / "align.log")], attempt=2, restart_times=2,
        resources=Resources(mem_mb=6000, runtime=120),
    )  # fmt: skip
    settings = SimpleNamespace(_parsed_overwrite_resources=parse_set_resources([by_hand] if by_hand else []))
    workflow = SimpleNamespace(dag=SimpleNamespace(jobs=[job], jobid=lambda job: 7), resource_settings=settings)
    record = logging.makeLogRecord({"event": "job_error", "jobid": 7, "output": [str(out)], "indent": False})
    return workflow, record


@pytest.mark.parametrize(
    ("by_hand", "more"),
    [
        ("", ""),
        ("align:mem_mb=6000 * attempt", ""),
        ("score:mem_mb=6000", ""),
        ("align:mem_mb=6000", "; its memory was set by hand and does not grow: align:mem_mb='6000 * attempt' would"),
    ],
)
def test_it_says_whether_memory_grows(by_hand: str, more: str, tmp_path: Path) -> None:
    workflow, record = workflow_of(tmp_path, by_hand)
    assert job_logs._finish(record, workflow)
    asked = f"it had asked for 6000 MB of memory and 120 minutes (attempt 2 of 3){more} (docs/cluster.md)"
    assert last(tmp_path / "align.log").endswith(f": {asked}")


def test_jobs_of_a_group_that_had_ended_or_not_begun_are_left_alone(tmp_path: Path) -> None:
    workflow, record = workflow_of(tmp_path)
    record.indent = True
    job_logs._finish(record, workflow)
    assert not (tmp_path / "align.log").exists()
    (tmp_path / "align.log").write_text("done\n")
    (tmp_path / "ckpt").mkdir()
    job_logs._finish(record, workflow)
    assert last(tmp_path / "align.log") == "done"
    (tmp_path / "ckpt").rmdir()
    job_logs._finish(record, workflow)
    assert ASKED.replace("3000", "6000") in last(tmp_path / "align.log")


def test_other_messages_pass(tmp_path: Path) -> None:
    workflow, _ = workflow_of(tmp_path)
    assert job_logs._finish(logging.makeLogRecord({"msg": "Building DAG"}), workflow)


BAR = """
import silmm
from silmm.stages.runtime import progress
from tqdm import tqdm
list(tqdm(range(3), "a library's"))
list(progress(range(3), "ours"))
"""


def test_bars_in_a_log_are_ascii() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(job_logs.__file__).parents[1]), "LC_ALL": "C.UTF-8"}
    environment.pop("TQDM_ASCII", None)
    done = subprocess.run([sys.executable, "-c", BAR], env=environment, capture_output=True)
    assert done.returncode == 0 and done.stderr.isascii()
    assert done.stderr.count(b"3/3") == 2 and b"|##########|" in done.stderr
