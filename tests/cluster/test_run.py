"""The smoke workflow on a real SLURM of one node: to the first policy, with a job cancelled on the way."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ..conftest import SMOKE
from ..workflow.conftest import ROOT, contract_files
from .slurm import output

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]
PROFILE = ("--workflow-profile", str(ROOT / "workflow/profiles/slurm"), "--latency-wait", "10")
FIRST = "results/smoke/discrete/seed0/silmm/iter1"
CONFIG = ("--config", "lmms=[discrete]", "align={epochs: 10}")  # epochs: state is kept in mid-run
GPU = ("--set-resources", "align:gpu=1")
GROUPS = ("--groups", "pretrain=start", "prompts=start", "questions=start")  # one job of three short ones
JOBS = ["start_pretrain_prompts_questions", "images", "score", "pairs", "align", "align"]


class Run(NamedTuple):
    """A run on the cluster, whose job of step 5 was cancelled when it had saved its training state."""

    folder: Path
    jobs: list[tuple[str, dict[str, str]]]  # rule, and what SLURM knows of the job, in the order of their submission
    devices: str | None  # CUDA_VISIBLE_DEVICES of its stage's own process
    unbroken: Path  # where the same was run without SLURM


@contextlib.contextmanager
def snakemake(folder: Path, *words: str, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Snakemake with the smoke config, in the background and in `folder`; interrupted should the block fail."""
    program = [sys.executable, str(Path(__file__).with_name("impatient.py")), "--snakefile", str(ROOT / "Snakefile")]
    command = [*program, *words, "--directory", str(folder), *SMOKE]
    with (
        (folder / "said").open("w") as said,
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        except BaseException:
            process.terminate()  # it cancels its jobs
            raise


def finished(folder: Path, process: subprocess.Popen[bytes]) -> str:
    """What it printed; it must have succeeded."""
    process.wait(timeout=400)
    said = (folder / "said").read_text()
    assert process.returncode == 0, said
    return said


def wait_for(wanted: Path, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a file is there; the process works on it."""
    end = time.monotonic() + 300
    while not wanted.exists():
        running = process.poll() is None and time.monotonic() < end
        assert running, f"no {wanted}: {(folder / 'said').read_text()}"
        time.sleep(0.05)


def devices_of(words: list[str]) -> str | None:
    """CUDA_VISIBLE_DEVICES of the running process whose command line has these words."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if set(words) <= set((folder / "cmdline").read_text().split("\0")):
                variables = dict(line.partition("=")[::2] for line in (folder / "environ").read_text().split("\0"))
                return variables.get("CUDA_VISIBLE_DEVICES", "not set")
    return None


def jobs_of(said: str, env: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Rule and SLURM's own account of every job that Snakemake says it has submitted."""
    submitted = re.findall(r"SLURM jobid (\d+) \(log: \S+/(?:rule|group)_(\w+)/", said)
    accounts = [(rule, output(env, "scontrol", "show", "job", "-d", job).split()) for job, rule in submitted]
    return [(rule, dict(word.partition("=")[::2] for word in words)) for rule, words in accounts]


@pytest.fixture(scope="module")
def run(slurm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, unbroken = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("unbroken")
    words = (f"{FIRST}/ckpt", *CONFIG)
    with (
        snakemake(unbroken, *words, "--cores", "1", env=dict(os.environ)) as other,
        snakemake(folder, *words, *PROFILE, *GPU, *GROUPS, env=slurm) as process,
    ):
        wait_for(folder / FIRST / "state/state.safetensors", folder, process)
        job, _ = output(slurm, "squeue", "-h", "-t", "RUNNING", "-o", "%i %k").split()
        devices = devices_of(["silmm", "align", f"{FIRST}/state"])
        output(slurm, "scancel", job)
        said = finished(folder, process)
        finished(unbroken, other)
    return Run(folder, jobs_of(said, slurm), devices, unbroken)


def test_each_rule_or_group_is_a_job_of_its_own(run: Run) -> None:
    assert [rule for rule, _ in run.jobs] == JOBS
    assert {job["JobState"] for rule, job in run.jobs if rule != "align"} == {"COMPLETED"}
    assert {job["Requeue"] for _, job in run.jobs} == {"1"}  # one that is pre-empted comes back


def test_a_cancelled_job_is_submitted_again_with_more_memory_and_goes_on(run: Run) -> None:
    first, second = (job for rule, job in run.jobs if rule == "align")
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    assert (first["MinMemoryNode"], second["MinMemoryNode"]) == ("3000M", "6000M")
    assert not (run.folder / FIRST / "state").exists()


def test_the_files_are_those_of_an_unbroken_run_without_slurm(run: Run) -> None:
    made = contract_files(run.folder / "results/smoke")
    assert len(made) > 20
    assert made == contract_files(run.unbroken / "results/smoke")


def test_a_gpu_is_asked_for_where_a_rule_needs_one_and_seen_by_its_stage(run: Run) -> None:
    for rule, job in run.jobs:
        assert job["Partition"] == ("gpu" if rule == "align" else "cpu")
        assert ("gpu:1" in job.get("TresPerJob", "")) == (rule == "align")
    assert run.devices in ("0", "1")


def test_one_rule_alone(run: Run, slurm: dict[str, str]) -> None:
    made = run.folder / FIRST / "qa.jsonl"
    before = made.stat().st_mtime_ns, made.read_bytes()
    with snakemake(run.folder, f"{FIRST}/qa.jsonl", "--force", *PROFILE, *CONFIG, env=slurm) as process:
        said = finished(run.folder, process)
    assert [(rule, job["JobState"]) for rule, job in jobs_of(said, slurm)] == [("questions", "COMPLETED")]
    assert made.stat().st_mtime_ns > before[0] and made.read_bytes() == before[1]
