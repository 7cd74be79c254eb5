"""Benchmarks' prompts that step 1 avoids: inputs where they are there, one error before any job where they are not."""

from __future__ import annotations

from pathlib import Path

from .conftest import Snakemake

RUN = ("--cores", "2", "--config", "lmms=[discrete]", "iterations=1", "control_iterations=1")
STEP = "results/discrete/seed0/silmm/iter1/prompts.jsonl"


def test_files_of_a_folder_are_inputs_and_the_paths_an_option(snakemake: Snakemake, tmp_path: Path) -> None:
    folder = tmp_path / "my prompts"
    folder.mkdir()
    for name in ("a.txt", "b.jsonl", "LICENSE.txt"):
        (folder / name).write_text("a red car\n")
    done = snakemake(STEP, "-n", "-p", *RUN, "avoid=[my prompts]")
    assert "base/ckpt, my prompts/a.txt, my prompts/b.jsonl\n" in done.stdout
    assert " --avoid 'my prompts' 2>&1" in done.stdout
    assert "--avoid" not in snakemake(STEP, "-n", "-p", *RUN).stdout


def test_a_path_that_is_not_there_stops_a_run(snakemake: Snakemake, tmp_path: Path) -> None:
    (tmp_path / "x.png").touch()
    words = (*RUN, "avoid=[no_such, x.png]")
    lines = [
        "config: avoid: no_such: no such file or folder: expected benchmark prompts, or take it off the list",
        "config: avoid: x.png: not a file of prompts by its name: expected .txt, .jsonl, .json, .csv, or take it off",
    ]
    started = snakemake(*words, check=False)
    assert started.returncode == 1
    assert all(line in started.stdout for line in lines)
    assert "Traceback" not in started.stdout and "rule pretrain" not in started.stdout
