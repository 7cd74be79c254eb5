"""What Snakemake would do: dry runs of every config, and the form of the workflow's files."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT, Snakemake, jobs

ITERATION = {"prompts": 1, "images": 2, "questions": 1, "score": 2, "gather": 1, "pairs": 1, "align": 1, "evaluate": 1}
LAST = {"summarize": 1, "accuracy": 2, "contact_sheet": 2, "sample_sheet": 2, "kc_dpo_curves": 1, "all": 1}
BASE = {"pretrain": 1, "evaluate_base": 1}
# dpo, sft: align, evaluate; random_score: pairs, too; best_of_n: evaluate
CONTROLS = {"pairs": 1, "align": 3, "evaluate": 4}
# of the continuous LMM: there is no dpo, and kc_dpo is what silmm is
ITS_CONTROLS = {"pairs": 1, "align": 2, "evaluate": 3}


def total(*parts: tuple[int, dict[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for times, part in parts:
        for name, count in part.items():
            counts[name] = counts.get(name, 0) + times * count
    return counts


def test_the_default_run(snakemake: Snakemake) -> None:
    done = snakemake("-n", "--cores", "2")
    both = ((2, BASE), (2 * 3, ITERATION), (1, CONTROLS), (1, ITS_CONTROLS), (1, LAST))
    assert jobs(done.stdout) == total(*both)


def test_a_dry_run_explains_what_is_shared(snakemake: Snakemake) -> None:
    done = snakemake("figure_7a", "-nq", "rules", "--cores", "2", "--config", "lmms=[discrete]", "seeds=[0, 1]")
    lines = done.stdout.splitlines()
    assert "    align, evaluate: beta_005, beta_010, beta_040, beta_080" in lines
    assert "    images, score, pairs, align, evaluate: of_30_10x10" in lines  # the first of those with 30 images
    assert any(re.fullmatch("  base discrete seed 0: from .*checkpoints/discrete_seed0", line) for line in lines)
    assert "  base discrete seed 1: trained" in lines


def test_the_smoke_run(snakemake: Snakemake) -> None:
    done = snakemake("-n", "--cores", "1", "--configfile", "config/smoke.yaml")
    expected = total((2, BASE), (2 * 2, ITERATION), (1, CONTROLS), (1, ITS_CONTROLS), (1, LAST))
    expected |= {stage: expected[stage] // 2 for stage in ("images", "score")}  # it has one shard, not two
    assert jobs(done.stdout) == expected
    assert "output: results/smoke/summary.csv" in done.stdout


def test_the_study(snakemake: Snakemake) -> None:
    done = snakemake("-n", "--cores", "2", "--configfile", "config/study.yaml")
    seed = total((1, BASE), (3, ITERATION), (1, CONTROLS), (3 * 2, ITERATION))  # from iteration 2, arms share nothing
    its_seed = total((1, BASE), (3, ITERATION), (1, ITS_CONTROLS), (2 * 2, ITERATION))
    assert jobs(done.stdout) == total((3, seed), (3, its_seed), (1, LAST))


def test_pretraining_alone(snakemake: Snakemake) -> None:
    done = snakemake("base", "-n", "--cores", "1", "--configfile", "config/smoke_pretrain.yaml", "-p")
    assert jobs(done.stdout) == {"base": 1, "pretrain": 2}
    assert "--steps 20 --paint-steps 20 --vq-steps 20 " in done.stdout
    assert "--steps 20 --paint-steps 10 --vq-steps 20 " in done.stdout
    assert "--shipped" not in done.stdout


def test_a_continuous_base_is_made_from_the_discrete_one(snakemake: Snakemake) -> None:
    done = snakemake("base", "-n", "-p", "--cores", "1", "--config", "lmms=[continuous]", "shipped=null")
    assert jobs(done.stdout) == {"base": 1, "pretrain": 2}
    assert "--lmm continuous --seed 0 --start results/discrete/seed0/base/ckpt" in done.stdout
    assert "--paint-steps 450 " in done.stdout


def test_both_lmms_have_arms_of_their_own(snakemake: Snakemake) -> None:
    done = snakemake("-n", "-p", "--cores", "1", "--config", "lmms=[discrete, continuous]", "iterations=1")
    assert "results/continuous/seed0/sft/iter1/ckpt" in done.stdout
    assert "results/continuous/seed0/dpo" not in done.stdout
    assert "--samplers fresh_noise,constant_noise" in done.stdout and "--samplers t1.0,top_p0.9" in done.stdout
    for lmm in ("discrete", "continuous"):
        assert f"silmm figure --lmm {lmm} " in done.stdout and f"results/figures/accuracy_{lmm}.png" in done.stdout
        of_lmm = re.findall(rf"--entry lmm={lmm},arm=(\w+),seed=0,iteration=\d,role=(\w+),dir=", done.stdout)
        assert of_lmm == [("silmm", "main"), ("best_of_n", "untrained")]


def test_the_config_names_the_main_arm_of_each_lmm(snakemake: Snakemake) -> None:
    words = ("lmms=[continuous]", "iterations=1", "continuous={main: kc_dpo}")
    done = snakemake("-n", "-p", "--cores", "1", "--config", *words)
    assert "arm=kc_dpo,seed=0,iteration=1,role=main," in done.stdout
    assert "arm=silmm,seed=0,iteration=1,dir=" in done.stdout


def test_the_number_of_cores_changes_no_command(snakemake: Snakemake) -> None:
    commands = [
        sorted(
            line for line in snakemake("-n", "-p", "--cores", cores).stdout.splitlines() if "python -m silmm" in line
        )
        for cores in ("1", "2")
    ]
    assert len(commands[0]) == 86
    assert commands[0] == commands[1]


def test_single_keys_from_the_command_line(snakemake: Snakemake) -> None:
    done = snakemake(
        *("-n", "-p", "--cores", "1", "--config"),
        *("lmms=[discrete]", "iterations=1", "align={lr: 1e-3, batch: 8}", "shipped=null"),
    )
    assert "--lr 0.001 --batch 8 " in done.stdout
    assert "--shipped" not in done.stdout
    assert jobs(done.stdout)["prompts"] == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prompts={n: 0}"], "config: prompts.n is 0: must be at least 1"),
        (["arms={dpo: {pairs: {scorer: best}}}"], "config: arms.dpo.pairs: pairs.scorer is 'best': choose one of self"),
        (["iteration=4"], "config: unknown key 'iteration'"),
        (["seeds=[0, 0]"], "config: seeds is [0, 0]: must be a list, without repetition"),
    ],
)
def test_a_bad_config_value_stops_the_run_in_one_line(snakemake: Snakemake, words: list[str], says: str) -> None:
    done = snakemake("-n", "--cores", "1", "--config", *words, check=False)
    assert done.returncode == 1
    assert [line.startswith(says) for line in done.stdout.splitlines()].count(True) == 1
    assert "Traceback" not in done.stdout


def test_the_entry_is_short() -> None:
    assert len((ROOT / "Snakefile").read_text().splitlines()) < 70


def test_the_curves_are_of_every_alignment_once(snakemake: Snakemake) -> None:
    words = ("lmms=[continuous]", "iterations=2", "control_iterations=2", "seeds=[3, 4]")
    done = snakemake("results/figures/kc_dpo_curves.png", "-n", "-p", "--cores", "1", "--config", *words)
    drawn = re.findall(r"--aligned lmm=continuous,arm=(\w+),seed=(\d),iteration=(\d)(,role=main)?,dir=", done.stdout)
    main = [("silmm", "3", t, ",role=main") for t in "12"]  # kc_dpo is silmm: its checkpoints are silmm's
    assert drawn == [*main, *((arm, "3", t, "") for arm in ("random_score", "sft") for t in "12")]
    assert "--summary results/summary.csv --out results/figures/kc_dpo_curves.png" in done.stdout
    alone = snakemake("results/figures/kc_dpo_curves.png", "-n", "--config", "lmms=[discrete]", check=False)
    assert alone.returncode and "only a continuous LMM has KC-DPO's curves" in alone.stdout
