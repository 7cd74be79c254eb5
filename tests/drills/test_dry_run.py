"""What a dry run of the paper's scale takes: 16,000 prompts of 30 pictures, three iterations, 250 shards."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, jobs, run_snakemake

SECONDS, GIB = 30, 2


@pytest.mark.drill
@pytest.mark.parametrize("profile", ["default", "slurm"])
def test_a_dry_run_at_the_papers_scale(profile: str, tmp_path: Path, record_property) -> None:  # type: ignore[no-untyped-def]
    words = ["-n", "--configfile", "config/paper/emu3.yaml", "--workflow-profile", f"profiles/{profile}"]
    start = time.monotonic()
    output = run_snakemake(ROOT, tmp_path, "--cores", "1", *words).stdout
    seconds = time.monotonic() - start
    gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20  # of the largest child so far
    count = sum(jobs(output).values())
    record_property("figure", f"{count} jobs, {seconds:.0f} s, {gib:.2f} GiB")
    assert jobs(output)["images"] == 3 * 250
    assert seconds < SECONDS
    assert gib < GIB
