"""Snakemake deletes the outputs of a killed job; the training state is none of them, and the step count goes on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from silmm.align import state as states
from tests.workflow.conftest import ROOT, run_snakemake

from .test_resume import step_of

STEPS, SAVED = 125, 100  # `silmm.stages.pretrain` saves after a hundred steps
TINY = "pretrain={steps: 115, paint_steps: 10, vq_steps: 1, width: 16, layers: 1, heads: 1, codes: 16}"
WORDS = ("base", "--cores", "1", "--config", "shipped=null", TINY)


def training_jobs(snakemake: int) -> list[psutil.Process]:
    """The pretraining processes below Snakemake's, shells left out."""
    found = []
    for process in psutil.Process(snakemake).children(recursive=True):
        try:
            if process.cmdline()[1:4] == ["-m", "silmm", "pretrain"]:
                found.append(process)
        except psutil.Error:  # it ended in between
            continue
    return found


@pytest.mark.slow
def test_a_killed_training_goes_on_where_it_was(tmp_path: Path) -> None:
    base = tmp_path / "results/discrete/seed0/base"
    state = base / "state" / states.FILE
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    with subprocess.Popen(
        [*command, *WORDS], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as snakemake:
        end = time.monotonic() + 300
        while not state.exists() and snakemake.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        for job in training_jobs(snakemake.pid) if snakemake.poll() is None else []:
            job.kill()
        output, _ = snakemake.communicate()
    assert snakemake.returncode == 1, output
    assert step_of(state) == SAVED
    assert sorted(path.name for path in base.iterdir()) == [".lock-ckpt", "state"]  # the next writer removes its lock

    run_snakemake(ROOT, tmp_path, *WORDS)
    progress = (tmp_path / "results/logs/discrete/seed0/base/pretrain.log").read_text()
    assert min(int(step) for step in re.findall(rf"\b(\d+)/{STEPS}\b", progress)) == SAVED
    rows = (base / "ckpt/training.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(STEPS))
    assert sorted(path.name for path in base.iterdir()) == ["ckpt"]
