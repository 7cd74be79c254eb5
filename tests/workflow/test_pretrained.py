"""Pretrained LMMs in the workflow: what is planned, and what is refused before a job starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Snakemake, jobs

ITERATION = {"prompts": 1, "questions": 1, "gather": 1, "pairs": 1, "align": 1}


@pytest.mark.parametrize("family", ["dreamllm", "emu3", "janus", "seed_llama"])
def test_a_tiny_run_makes_its_own_weights(snakemake: Snakemake, family: str) -> None:
    done = snakemake("-n", "--cores", "2", "--configfile", f"config/tiny/{family}.yaml")
    once = {"random_weights": 1, "adopt": 1, "images": 1, "score": 1, "figure_funnel": 1, "all": 1}
    assert jobs(done.stdout) == {**ITERATION, **once}
    assert "no such folder" not in done.stdout
    assert "gpu=1" not in done.stdout  # nothing of it fills a GPU


@pytest.mark.parametrize(
    ("name", "family"),
    [("dreamllm", "dreamllm"), ("emu3", "emu3"), ("janus_pro", "janus"), ("seed_llama", "seed_llama")],
)
def test_the_paper_s_run_is_planned_and_its_weights_asked_for(snakemake: Snakemake, name: str, family: str) -> None:
    words = ("--cores", "2", "--configfile", f"config/paper/{name}.yaml", "--config", "shards=2")
    done = snakemake("-n", *words)
    several = {**dict.fromkeys(ITERATION, 3), "images": 6, "score": 6}
    assert jobs(done.stdout) == {**several, "adopt": 1, "figure_funnel": 1, "all": 1}
    line = f"config: {family}.adopt.weights is weights/"
    assert done.stdout.count(line) == 1
    assert "gpu=1" in done.stdout and "mem_mb=64000" in done.stdout
    started = snakemake(*words, check=False)
    assert started.returncode == 1
    assert line in started.stdout and "no such folder: download the weights" in started.stdout
    assert "Traceback" not in started.stdout and "rule adopt" not in started.stdout


def test_weights_that_are_there_are_inputs(snakemake: Snakemake, tmp_path: Path) -> None:
    for folder in ("gen", "chat"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
    own = "emu3={adopt: {weights: gen, chat: chat}}"
    done = snakemake("base", "-n", "-p", "--cores", "2", "--config", "lmms=[emu3]", own)
    assert "input: chat/config.json, gen/config.json\n" in done.stdout
    assert "silmm adopt --family emu3 --seed 0 --out results/emu3/seed0/base/ckpt" in done.stdout
    assert "no such folder" not in done.stdout


def test_files_of_a_pipeline_s_parts_are_inputs(snakemake: Snakemake, tmp_path: Path) -> None:
    for folder in ("llm", "visual", "sd/unet", "sd/.cache"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    own = "seed_llama={adopt: {weights: llm, visual: visual, diffusion: sd, template: llama2}}"
    done = snakemake("base", "-n", "-p", "--cores", "2", "--config", "lmms=[seed_llama]", own)
    assert "input: llm/config.json, sd/unet/config.json, visual/config.json\n" in done.stdout
    assert "--template llama2" in done.stdout


def test_shapeworld_beside_a_pretrained_lmm_is_judged_alone(snakemake: Snakemake, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    words = ("lmms=[discrete, janus]", "janus={adopt: {weights: weights}}", "iterations=1", "control_iterations=1")
    done = snakemake("-n", "-p", "--cores", "2", "--config", *words)
    counts = jobs(done.stdout)
    assert (counts["pretrain"], counts["adopt"], counts["align"], counts["evaluate"]) == (1, 1, 5, 5)
    assert counts["accuracy"] == counts["contact_sheet"] == counts["figure_funnel"] == 1
    assert "lmm=janus,arm=silmm,seed=0,iteration=1,role=main,dir=results/janus/seed0/silmm/iter1" in done.stdout
    assert "lmm=janus,arm=base" not in done.stdout
    judged = snakemake("results/janus/seed0/base/eval.parquet", "-n", "--config", *words, check=False)
    assert judged.returncode and "MissingRuleException" in judged.stdout


def test_figures_of_a_pretrained_lmm_alone_are_the_funnel(snakemake: Snakemake, tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    words = ("lmms=[janus]", "janus={adopt: {weights: weights}}", "iterations=1")
    counts = jobs(snakemake("figures", "-n", "--cores", "2", "--config", *words).stdout)
    assert {job for job in counts if job.startswith("figure")} == {"figures", "figure_funnel"}
    assert "evaluate" not in counts


def test_without_weights_in_the_config_the_key_is_named(snakemake: Snakemake) -> None:
    done = snakemake("-n", "--cores", "1", "--config", "lmms=[janus]", check=False)
    assert done.returncode == 1
    assert "config: janus.adopt.weights is '': must be the folder of the model's weights" in done.stdout
    assert "Traceback" not in done.stdout
