"""A job that SLURM ends for its memory: the log's last line says what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from .test_run import PROFILE, snakemake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]
BASE = "results/smoke/discrete/seed0/base/ckpt"


def test_a_job_that_ran_out_of_memory_says_what_it_had_asked_for(slurm: dict[str, str], tmp_path: Path) -> None:
    words = (BASE, *PROFILE, "--set-resources", "pretrain:mem_mb=60", "--retries", "1", "--config", "lmms=[discrete]")
    with snakemake(tmp_path, *words, env=slurm) as process:
        assert process.wait(timeout=300) == 1
    (log,) = (tmp_path / "results/smoke/logs").rglob("pretrain.log")
    asked = "it had asked for 60 MB of memory and 120 minutes (attempt 2 of 2); its memory was set by hand and does not"
    assert asked in log.read_text(encoding="utf-8").splitlines()[-1]
    said = (tmp_path / "said").read_text()
    assert said.count(f"{asked} grow: pretrain:mem_mb='60 * attempt' would") == 1 and "not a text file" not in said
    assert "(attempt 1 of 2)" in said
