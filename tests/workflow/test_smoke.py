"""The real stages through Snakemake, with hardly any data (config/smoke.yaml)."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from silmm.report.summarize import SUMMARY

from .conftest import ROOT, contract_files, run_snakemake

pytestmark = pytest.mark.slow
SMOKE = ("--configfile", "config/smoke.yaml")
TINY = ["--lmm", "discrete", "--vq-steps", "1", "--width", "16", "--layers", "1", "--heads", "1", "--codes", "16"]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a smoke run on two cores."""
    folder = tmp_path_factory.mktemp("smoke")
    done = run_snakemake(ROOT, folder, "--cores", "2", *SMOKE)
    assert "silmm: done. Look at" in done.stdout
    return folder / "results/smoke"


def test_the_summary_has_every_policy(smoke: Path) -> None:
    rows = list(csv.DictReader((smoke / "summary.csv").open()))
    assert list(rows[0]) == list(SUMMARY)
    assert {(row["arm"], row["iteration"]) for row in rows} == {
        *(("base", "0"), ("silmm", "1"), ("silmm", "2")),
        *((arm, "1") for arm in ("dpo", "sft", "random_score", "best_of_n")),
    }
    assert {row["sampler"] for row in rows if row["metric"] == "oracle_prompt"} == {"t1.0", "top_p0.9"}
    for name in ("gains.csv", "figures/accuracy.png", "contact_sheet_discrete.png"):
        assert (smoke / name).stat().st_size > 0


def test_no_temporary_file_stays(smoke: Path) -> None:
    assert not [path for path in smoke.rglob("*") if path.name.startswith(".partial-")]


def test_the_same_bytes_on_one_core(smoke: Path, tmp_path: Path) -> None:
    run_snakemake(ROOT, tmp_path, "--cores", "1", *SMOKE)
    first, second = contract_files(smoke), contract_files(tmp_path / "results/smoke")
    assert len(first) > 50
    assert second == first


def test_pretraining_runs(tmp_path: Path) -> None:
    run_snakemake(ROOT, tmp_path, "base", "--cores", "2", "--configfile", "config/smoke_pretrain.yaml")
    base = tmp_path / "results/smoke_pretrain/discrete/seed0/base"
    assert sorted(path.name for path in base.iterdir()) == ["ckpt"]  # the resumable state is gone
    assert (base / "ckpt/model.safetensors").stat().st_size > 0


def test_a_killed_stage_leaves_no_final_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "silmm", "pretrain", *TINY, "--steps", "100000", "--threads", "1"]
    command += ["--out", str(tmp_path / "ckpt"), "--state", str(tmp_path / "state")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 300
        while not (tmp_path / "state").exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "state").exists()
    assert not (tmp_path / "ckpt").exists()
