"""What shows DivDrop's samples: with which policies and settings the workflow calls it."""

from __future__ import annotations

import re

from .conftest import Snakemake

IMAGES = "arms={silmm: {images: {rate: 0.25, layers: 3}}}"


def test_samples_are_drawn_as_step_2_of_the_main_arm_does(snakemake: Snakemake) -> None:
    grid, *sheets = targets = [
        "results/figures/divdrop_grid_continuous.png",
        "results/samples_continuous.png",
        "results/samples_discrete.png",
    ]
    words = ("--config", "lmms=[discrete, continuous]", "iterations=1", "seeds=[4]", IMAGES, "--")
    done = snakemake("-n", "-p", "--cores", "1", *words, *targets)
    found = re.findall(r"python -m silmm (divdrop-grid|sample-sheet) (.*?) --threads 1 (.*?) 2>&1", done.stdout)
    base, after = "results/{}/seed4/base/ckpt", "results/{}/seed4/silmm/iter1/ckpt"
    assert sorted((command, paths) for command, paths, _ in found) == [
        ("divdrop-grid", f"--ckpt {base.format('continuous')} --seed 4 --out {grid}"),
        *(
            ("sample-sheet", f"--base {base.format(lmm)} --after {after.format(lmm)} --seed 4 --out {out}")
            for lmm, out in zip(("continuous", "discrete"), sheets, strict=True)
        ),
    ]
    for _, _, settings in found:
        assert "--rate 0.25 --layers 3 " in settings
        assert settings.endswith(" --n 10 --noise prompt --noises 1")  # the last of an option counts


def test_a_discrete_lmm_has_no_divdrop(snakemake: Snakemake) -> None:
    done = snakemake("-n", "--cores", "1", "--", "results/figures/divdrop_grid_discrete.png", check=False)
    assert done.returncode == 1 and "No rule to produce" in done.stdout
