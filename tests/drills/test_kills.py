"""`kill -9` at any moment, of a job, of Snakemake, of both: the same command goes on, to an unbroken run's bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import SMOKE, Smoke
from ..workflow.conftest import ROOT, contract_files, run_snakemake
from .kills import CTRL_C, VICTIMS, Kill, endure, left_over, summary

KILLS = 50
A_RUN = 17  # kills of one run
LONG = "align={epochs: 10}", "continuous={align: {epochs: 10}, arms: {sft: null}}"  # epochs: state is kept in mid-run
LOOP = ("--cores", "2", *SMOKE, "--config", "iterations=1", "arms={sft: null, best_of_n: null}", *LONG)
TINY = "pretrain={steps: 300, paint_steps: 200, vq_steps: 5, width: 16, layers: 1, heads: 1, codes: 16}"
BASES = ("base", "--cores", "2", "--configfile", "config/smoke_pretrain.yaml", "--config", TINY)
FIRST = "results/smoke/discrete/seed0/silmm/iter1/ckpt"


def drawn(rng: random.Random, n: int) -> list[str]:
    """So many victims, every kind about as often."""
    return rng.sample(VICTIMS * -(-n // len(VICTIMS)), n)


@pytest.mark.drill
def test_fifty_kills(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    assert (ROOT / "checkpoints").is_dir()
    kills: list[Kill] = []
    different: list[str] = []
    compared, run = 0, 0
    unbroken = {}
    for name, words in {"loop": LOOP, "bases": BASES}.items():
        run_snakemake(ROOT, tmp_path / name, *words)
        unbroken[name] = contract_files(tmp_path / name / "results")
        assert len(unbroken[name]) > 5
    while len(kills) < KILLS:
        name, words = ("bases", BASES) if run == 1 else ("loop", LOOP)
        rng, folder = random.Random(run), tmp_path / f"{run}_{name}"
        kills += endure(folder, words, drawn(rng, min(A_RUN, KILLS - len(kills))), rng)
        made, right = contract_files(folder / "results"), unbroken[name]
        different += [f"{folder.name}: {path}" for path in made | right if made.get(path) != right.get(path)]
        assert not left_over(folder / "results"), f"{left_over(folder / 'results')}\n{kills}"
        compared, run = compared + len(right), run + 1
        record_property("figure", f"{summary(kills)} over {run} runs, {len(different)} of {compared} files differ")
        print(f"{name}: {kills}\n{summary(kills)} over {run} runs, {len(different)} of {compared} files differ")
    assert not different


@pytest.mark.slow
@pytest.mark.xdist_group("smoke")
def test_three_kills_and_ctrl_c(smoke: Smoke, tmp_path: Path) -> None:
    """One of each kind, on the way to the first policy; and Ctrl-C."""
    kills = endure(tmp_path, (FIRST, "--cores", "1", *SMOKE), (*VICTIMS, CTRL_C), random.Random(1))
    assert [kill.victim for kill in kills] == [*VICTIMS, CTRL_C]
    made, unbroken = contract_files(tmp_path / "results/smoke"), contract_files(smoke.results)
    assert len(made) > 20
    assert made == {path: unbroken.get(path) for path in made}
    assert not left_over(tmp_path / "results")
