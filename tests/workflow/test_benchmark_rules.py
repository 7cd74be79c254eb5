"""Benchmarks in the workflow: drawn and judged where they are asked for, refused at once where a folder is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Snakemake, jobs

TINY = ("--cores", "2", "--configfile", "config/tiny/janus.yaml", "--config")
DSG = "benchmarks={dpg_bench: null, dsg_1k: {data: data, judges: {vqa: judge}, first: 1, shards: 2}}"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Where the official files and a judge are."""
    for name in ("data/dsg-1k-anns.csv", "judge/config.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("{}")
    return tmp_path


def test_the_paper_s_table_1_is_planned(snakemake: Snakemake) -> None:
    own = (
        "benchmarks={t2i_compbench++: {data: a, shards: 3}, tifa: {data: c, only: [coco], shards: 1}, dpg_bench: null}"
    )
    done = snakemake("table_1", "-n", "-p", "--cores", "2", "--configfile", "config/paper/emu3.yaml",
                     "--config", "shards=2", own)  # fmt: skip
    counts = jobs(done.stdout)
    assert (counts["benchmark_images"], counts["benchmark_scores"], counts["align"]) == (2 * (3 + 1), 2 * 2, 3)
    assert (counts["table_1"], counts["table_1_pretrained"]) == (1, 1)
    last = "results/paper_emu3/emu3/seed0/silmm/iter3"
    assert f"--ckpt {last}/ckpt --data a" in done.stdout and "--shard 2/3" in done.stdout
    assert "--guidance 3.0 --rate 0.0" in done.stdout
    assert (
        f"--lmm emu3/silmm/iter3 --out {last}/benchmark/tifa" in done.stdout and "--data c --only coco" in done.stdout
    )
    assert f"--images {last}/benchmark_images/tifa/shard-0 " in done.stdout
    judges = "--judge vqa=weights/Qwen3-VL-8B-Instruct --judge sentences=weights/all-mpnet-base-v2 --lmm emu3/base"
    assert judges in done.stdout
    assert f"iteration=3,role=main,dir={last}/benchmark --benchmarks t2i_compbench++ tifa --out" in done.stdout


def test_unasked_nothing_is_drawn_to_be_judged(snakemake: Snakemake, folders: Path) -> None:
    assert not {"benchmark_images", "benchmark_scores"} & set(jobs(snakemake("-n", *TINY, DSG).stdout))


def test_every_iteration_and_seed_when_all_are_asked_for(snakemake: Snakemake, folders: Path) -> None:
    done = snakemake("benchmarks", "-n", "-p", *TINY, DSG, "iterations=2", "seeds=[0, 1]")
    assert (jobs(done.stdout)["benchmark_images"], jobs(done.stdout)["benchmark_scores"]) == (2 * 2 * 3, 2 * 3)
    assert "input: results/tiny/janus/seed1/base/ckpt, data" in done.stdout and "judge/config.json" in done.stdout
    assert "gpu=1" not in done.stdout


def test_missing_folders_stop_a_run_before_it_starts(snakemake: Snakemake, folders: Path) -> None:
    (folders / "data/dsg-1k-anns.csv").unlink()
    (folders / "data").rmdir()
    own = DSG.replace("vqa: judge", "vqa: nowhere")
    done = snakemake("benchmarks", *TINY, own, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stdout and "rule random_weights" not in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("config: ")]
    assert len(lines) == 2
    assert lines[0].startswith("config: benchmarks.dsg_1k.data is data: no such folder: get the official files (")
    assert lines[1].startswith("config: benchmarks.dsg_1k.judges.vqa is nowhere: no such folder: download a judge (")


def test_table_1_without_its_benchmarks_says_which_there_are(snakemake: Snakemake, folders: Path) -> None:
    done = snakemake("table_1", "-n", *TINY, DSG, check=False)
    assert done.returncode == 1
    assert "benchmarks names none of those in the paper's Table 1 (t2i_compbench++, dpg_bench, tifa)" in done.stdout
