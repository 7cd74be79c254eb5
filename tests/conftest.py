"""Settings that must be in place before torch is imported, and the one smoke run that several tests look at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from .workflow.conftest import ROOT, run_snakemake

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors are slower on several threads
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if not Path("/dev/nvidiactl").exists():  # no GPU: Triton's kernels run in its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is defined, Triton's own ones included
SMOKE = ("--configfile", "config/smoke.yaml")


class Smoke(NamedTuple):
    """A run of the real stages through Snakemake with hardly any data."""

    folder: Path  # where Snakemake worked
    output: str

    @property
    def results(self) -> Path:
        """What the run made."""
        return self.folder / "results/smoke"


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """The README's first command on the smoke config; a test that asks for it belongs to the group `smoke`."""
    if not (ROOT / "checkpoints").is_dir():
        pytest.skip("no base checkpoint to start from")
    folder = tmp_path_factory.mktemp("smoke")
    return Smoke(folder, run_snakemake(ROOT, folder, "--cores", "all", *SMOKE).stdout)
