"""Killing a run at random (its jobs, its Snakemake, or all of it), or stopping it as Ctrl-C does; then the same command
again."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from ..workflow.conftest import ROOT

VICTIMS = ("job", "snakemake", "group")
CTRL_C = "ctrl-c"
JOB_S = 5.0  # a kill comes so many seconds at most after a job has started: about as long as one takes


class Kill(NamedTuple):
    """What was killed, and when."""

    victim: str
    command: str  # the job's, if it was one
    jobs: int  # that had been started since the command was given
    seconds: float  # since then


def endure(folder: Path, words: Sequence[str], victims: Sequence[str], rng: random.Random) -> list[Kill]:
    """Run Snakemake in `folder`, kill these in turn, each at a moment drawn from the rest of the run, and give the same
    command again each time until it ends; fewer kills where it ends before."""
    kills: list[Kill] = []
    for i, victim in enumerate(victims):
        kill = _attempt(folder, words, victim, len(victims) - i, rng)
        if kill is None:
            return kills
        kills.append(kill)
    code, said = _finish(_start(folder, words), folder)
    assert code == 0, f"{kills}\n{said}"
    return kills


def summary(kills: Sequence[Kill]) -> str:
    """50 kills (20 jobs, 16 Snakemakes, 14 groups)."""
    count = Counter(kill.victim for kill in kills)
    return f"{len(kills)} kills ({count['job']} jobs, {count['snakemake']} Snakemakes, {count['group']} groups)"


def left_over(folder: Path) -> list[str]:
    """What no finished run should leave: temporary names, locks, training state."""
    names = re.compile(r"\.partial-.*|\.lock-.*|state")
    return [str(path) for path in folder.rglob("*") if names.fullmatch(path.name)]


def _start(folder: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    folder.mkdir(exist_ok=True)
    with (folder / "said").open("w") as said:
        return subprocess.Popen(
            [*command, *words], cwd=ROOT, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip


def _finish(process: subprocess.Popen[bytes], folder: Path) -> tuple[int, str]:
    """Its exit code, and what it said."""
    return process.wait(), (folder / "said").read_text()


def _attempt(folder: Path, words: Sequence[str], victim: str, left: int, rng: random.Random) -> Kill | None:
    """One go with a kill; None where it ended, successfully, before that. left: kills to come, this one included."""
    share, delay = 1 - (1 - rng.random()) ** (1 / left), JOB_S * rng.random()  # the first of `left` moments
    start, process = time.monotonic(), _start(folder, words)
    seen = _wait(process, folder, share)
    time.sleep(delay)
    jobs = _jobs(process.pid)
    while victim == "job" and not jobs and process.poll() is None:
        time.sleep(0.02)
        jobs = _jobs(process.pid)
    kill = Kill(victim, "", len(seen), round(time.monotonic() - start, 2))
    if victim == "job" and jobs:
        job = rng.choice(sorted(jobs))
        kill = kill._replace(command=jobs[job])
        os.kill(job, signal.SIGKILL)
    elif process.poll() is None:
        by = signal.SIGINT if victim == CTRL_C else signal.SIGKILL
        (os.kill if victim == "snakemake" else os.killpg)(process.pid, by)
    code, said = _finish(process, folder)
    assert code in (0, -signal.SIGKILL if victim in ("snakemake", "group") else 1), f"{kill}\n{said}"
    return kill if code else None


def _wait(process: subprocess.Popen[bytes], folder: Path, share: float) -> set[int]:
    """Wait until it has started this share of the jobs that it means to run; those that were seen."""
    seen: set[int] = set()
    wanted = None
    while process.poll() is None:
        total = re.search(r"^total +(\d+)$", (folder / "said").read_text(), flags=re.MULTILINE)
        wanted = int(share * int(total[1])) if total else wanted
        seen |= set(_jobs(process.pid))
        if wanted is not None and len(seen) >= wanted:
            break
        time.sleep(0.05)
    return seen


def _jobs(snakemake: int) -> dict[int, str]:
    """{process: sub-command} of what runs for it."""
    found = {}
    try:
        below = psutil.Process(snakemake).children(recursive=True)
    except psutil.Error:
        return {}
    for process in below:
        try:
            words = process.cmdline()
        except psutil.Error:  # it ended in between
            continue
        if words[1:3] == ["-m", "silmm"]:
            found[process.pid] = words[3]
    return found
