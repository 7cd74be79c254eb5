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

from ..conftest import SMOKE, Smoke
from .conftest import ROOT, contract_files, run_snakemake

pytestmark = pytest.mark.slow
TINY = ["--lmm", "discrete", "--vq-steps", "1", "--width", "16", "--layers", "1", "--heads", "1", "--codes", "16"]


@pytest.mark.xdist_group("smoke")
def test_the_summary_has_every_policy(smoke: Smoke) -> None:
    assert "silmm: done. Look at" in smoke.output
    rows = list(csv.DictReader((smoke.results / "summary.csv").open()))
    assert list(rows[0]) == list(SUMMARY)
    own = {"discrete": "dpo", "continuous": "kc_dpo"}
    assert {(row["lmm"], row["arm"], row["iteration"]) for row in rows} == {
        *((lmm, *policy) for lmm in own for policy in (("base", "0"), ("silmm", "1"), ("silmm", "2"))),
        *((lmm, arm, "1") for lmm in own for arm in (own[lmm], "sft", "random_score", "best_of_n")),
    }
    samplers = {(row["lmm"], row["sampler"]) for row in rows if row["metric"] == "oracle_prompt"}
    assert samplers == {
        *(("discrete", name) for name in ("t1.0", "top_p0.9")),
        *(("continuous", name) for name in ("fresh_noise", "constant_noise")),
    }
    pictures = [f"{kind}_{lmm}.png" for kind in ("figures/accuracy", "contact_sheet", "samples") for lmm in own]
    for name in ("gains.csv", "figures/kc_dpo_curves.png", *pictures):
        assert (smoke.results / name).stat().st_size > 0


@pytest.mark.xdist_group("smoke")
def test_no_temporary_file_stays(smoke: Smoke) -> None:
    assert not [path for path in smoke.results.rglob("*") if path.name.startswith(".partial-")]


@pytest.mark.drill
def test_the_same_bytes_on_one_core(smoke: Smoke, tmp_path: Path) -> None:
    """Iteration 1 of the main arm and of a control, again; iteration 2 asks for nothing else. And in two shards."""
    arms = "arms={dpo: null, sft: null, best_of_n: null}"
    own = "continuous={arms: {kc_dpo: null, random_score: null, sft: null, best_of_n: null}}"
    run_snakemake(ROOT, tmp_path, "--cores", "1", *SMOKE, "--config", "iterations=1", arms, own)
    first, second = contract_files(smoke.results), contract_files(tmp_path / "results/smoke")
    of_all = {name for name in second if "/" not in name or name.startswith("figures/")}  # tables of more arms
    assert len(second) > 30
    assert {name: second[name] for name in set(second) - of_all} == {name: first[name] for name in set(second) - of_all}


def test_pretraining_runs(tmp_path: Path) -> None:
    run_snakemake(ROOT, tmp_path, "base", "--cores", "2", "--configfile", "config/smoke_pretrain.yaml")
    for lmm in ("discrete", "continuous"):
        base = tmp_path / f"results/smoke_pretrain/{lmm}/seed0/base"
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
