"""Figures with measurements of their own: with which policies, settings and files the workflow calls them."""

from __future__ import annotations

import re

from .conftest import Snakemake, jobs

IMAGES = "arms={silmm: {images: {rate: 0.25, layers: 3}}}"


def test_strategies_and_rates_are_measured_as_step_2_draws(snakemake: Snakemake) -> None:
    words = ("--config", "lmms=[continuous]", "seeds=[4]", IMAGES, "--", "figure_5", "figure_6")
    done = snakemake("-n", "-p", "--cores", "1", *words)
    found = jobs(done.stdout)
    assert {name: found[name] for name in ("diversity", "divdrop_grid", "figure_5", "figure_6")} == dict.fromkeys(
        ("diversity", "divdrop_grid", "figure_5", "figure_6"), 1
    )
    assert "align" not in found
    (call,) = re.findall(r"python -m silmm diversity (.*?) 2>&1", done.stdout)
    assert call.startswith("--ckpt results/continuous/seed4/base/ckpt --seed 4 ")
    assert "--rate 0.25 --layers 3 " in call and call.endswith(" --n 10 --noise prompt --noises 1")
    assert "figure_6.py --measured results/figures/divdrop_grid_continuous.csv --layers 3 --out" in done.stdout


def test_every_iteration_of_the_main_arm_is_audited(snakemake: Snakemake) -> None:
    words = ("--config", "iterations=2", "seeds=[4, 5]", "--", "figure_audit")
    done = snakemake("-n", "-p", "--cores", "1", *words)
    assert jobs(done.stdout)["audit"] == 4
    assert "seed5" not in done.stdout
    (call,) = re.findall(r"figure_audit.py (--policies .*?) --out", done.stdout)
    runs = [f"results/{lmm}/seed4" for lmm in ("discrete", "continuous")]
    names = [
        f"{lmm} {run}/base {run}/silmm/iter1 {run}/silmm/iter2"
        for lmm, run in zip(("discrete", "continuous"), runs, strict=True)
    ]
    assert call == " ".join(f"--policies {name}" for name in names)


def test_an_audit_reads_what_its_arm_shares(snakemake: Snakemake) -> None:
    """`dpo` differs in step 5 alone, so its first iteration's answers are the main arm's."""
    done = snakemake("-n", "-p", "--cores", "1", "--", "results/discrete/seed0/dpo/iter1/audit.parquet")
    (call,) = re.findall(r"python -m silmm audit (.*?) --threads", done.stdout)
    main = "results/discrete/seed0/silmm/iter1"
    assert f"--scores {main}/scores.parquet --images {main}/images/shard-0 {main}/images/shard-1" in call
    assert call.endswith("--out results/discrete/seed0/dpo/iter1/audit.parquet")
