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


def test_the_gallery_is_of_every_policy_of_the_main_arms(snakemake: Snakemake) -> None:
    words = ("--config", "iterations=2", "seeds=[4]", "--", "results/gallery.html")
    done = snakemake("-n", "-p", "--cores", "1", *words)
    (line,) = re.findall(r"python -m silmm gallery (.*?) --threads 1", done.stdout)
    policies = [
        f"--ckpt-of lmm={lmm},iteration={t},dir=results/{lmm}/seed4/{'silmm/iter' + str(t) if t else 'base'}/ckpt"
        for lmm in ("discrete", "continuous")
        for t in range(3)
    ]
    assert line == f"{' '.join(policies)} --seed 4 --out results/gallery.html"


def test_funnel_and_cost_are_of_every_iteration_of_the_main_arms(snakemake: Snakemake) -> None:
    words = ("--config", "iterations=2", "seeds=[4, 5]", "lmms=[discrete]", "--", "figure_funnel", "figure_cost")
    done = snakemake("-n", "-p", "--cores", "1", *words)
    found = dict(re.findall(r"python \S*/paper_figures/figure_(\w+).py (.*?) --out results/paper", done.stdout))
    names = [f"lmm=discrete,arm=silmm,seed={s},iteration={t},role=main," for s in (4, 5) for t in (1, 2)]
    folders = [f"discrete/seed{s}/silmm/iter{t}" for s in (4, 5) for t in (1, 2)]
    rows = [f"--entry {name}dir={{}}/{folder}" for name, folder in zip(names, folders, strict=True)]
    assert found["funnel"] == " ".join(rows).format(*["results"] * 4)
    bases = [f"--entry lmm=discrete,arm=base,seed={s},iteration=0,dir={{}}/discrete/seed{s}/base" for s in (4, 5)]
    expected = [bases[0], *rows[:2], bases[1], *rows[2:]]
    assert found["cost"] == " ".join(expected).format(*["results/benchmarks"] * 6)
    for name in ("base/pretrain", "base/evaluate", "silmm/iter1/images-1", "silmm/iter2/align", "silmm/iter2/gather"):
        assert f"results/benchmarks/discrete/seed5/{name}.tsv" in done.stdout


def test_figures_has_them_all(snakemake: Snakemake) -> None:
    done = snakemake("-n", "--cores", "1", "--configfile", "config/smoke.yaml", "--", "figures")
    grid = "figures/divdrop_grid_continuous.png"
    for name in ("gallery.html", "paper/figure_funnel.png", "paper/figure_cost.csv", grid):
        assert f"results/smoke/{name}" in done.stdout
