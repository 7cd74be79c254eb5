"""Every figure of the config has a script, and the script draws the config's arms: no less, no more, no other."""

from __future__ import annotations

import runpy
from pathlib import Path

import pandas as pd
import pytest

from silmm.settings import Pairs

from .conftest import FIGURES, PLANS, SCRIPTS, policies, run_script, tables, write

HELPERS = {"common", "panels", "published", "tabular"}


def refused(figure: str, folder: Path, summary: pd.DataFrame, gains: pd.DataFrame) -> str:
    """What a script says of these tables; it must be one line, and nothing may be drawn."""
    write(folder, summary, gains)
    with pytest.raises(SystemExit) as stopped:
        run_script(figure, folder, folder / f"{figure}.png")
    says = str(stopped.value)
    assert says.startswith(f"{figure}: error: ") and "\n" not in says
    assert not list(folder.glob(f"{figure}.*"))
    return says


def test_every_figure_of_the_config_has_a_script() -> None:
    assert [figure for figure in FIGURES if not (SCRIPTS / f"{figure}.py").is_file()] == []


def test_the_rule_knows_what_the_scripts_share() -> None:
    rule = (SCRIPTS.parent / "workflow/rules/paper.smk").read_text()
    assert all((SCRIPTS / f"{name}.py").is_file() and f'"{name}"' in rule for name in HELPERS)


@pytest.mark.parametrize("figure", FIGURES)
def test_every_arm_of_the_config_is_asked_for(figure: str, tmp_path: Path) -> None:
    summary, gains = tables(list(policies(figure)))
    for lmm, arm in {(lmm, arm): None for lmm, arm, _ in policies(figure) if arm != "base"}:
        left = [t[(t.lmm != lmm) | (t.arm != arm)] for t in (summary, gains)]
        says = refused(figure, tmp_path, *left)
        assert f"no {arm} of the {lmm} LMM" in says and f"run snakemake {tmp_path.name}" in says


@pytest.mark.parametrize("figure", FIGURES)
def test_an_arm_without_a_place_is_named(figure: str, tmp_path: Path) -> None:
    listed = list(policies(figure))
    lmm = listed[-1][0]
    says = refused(figure, tmp_path, *tables([*listed, (lmm, "one_more", 1)]))
    assert f"one_more of the {lmm} LMM: the script has no place for it" in says


@pytest.mark.parametrize("figure", ["table_2", "figure_judge"])
def test_a_half_written_table_is_named(figure: str, tmp_path: Path) -> None:
    summary, gains = tables(list(policies(figure)))
    says = refused(figure, tmp_path, summary, gains[(gains.arm != "random_score") | (gains.category != "core")])
    assert "0 rows for " in says and "/random_score iteration 1" in says
    (tmp_path / "gains.csv").write_text("lmm,arm\n")
    with pytest.raises(SystemExit, match=r"gains.csv: columns are lmm, arm"):
        run_script(figure, tmp_path, tmp_path / f"{figure}.png")


def test_pairs_that_nobody_judged_are_named(tmp_path: Path) -> None:
    summary, gains = tables(list(policies("figure_judge")))
    gone = (summary.arm == "spoiled_30") & (summary.metric == "pair_accuracy") & (summary.lmm == "continuous")
    says = refused("figure_judge", tmp_path, summary[~gone], gains)
    assert "no pair_accuracy of continuous/spoiled_30 iteration 1" in says


@pytest.mark.parametrize("figure", ["figure_4a", "figure_filters"])
def test_seeds_are_drawn_beside_their_mean(figure: str, tmp_path: Path) -> None:
    summary, gains = tables(list(policies(figure)))
    better = (summary.arm != "base") & (summary.metric == "oracle_prompt")
    second = summary.assign(seed=1, value=summary.value + 0.1 * better)
    both, gains = pd.concat([summary, second]), gains.assign(seeds=2, gain_abs=gains.gain_abs + 0.05)
    write(tmp_path, both, gains)
    run_script(figure, tmp_path, tmp_path / f"{figure}.png")
    drawn = pd.read_csv(tmp_path / f"{figure}.csv")
    assert list(drawn.seeds) == [2] * len(drawn)
    assert list(drawn.seed_high - drawn.seed_low) == pytest.approx([0.1] * len(drawn), abs=3e-6)
    assert list(drawn.gain - drawn.seed_low) == pytest.approx([0.05] * len(drawn), abs=3e-6)
    says = refused(figure, tmp_path / "one", summary, gains)
    assert "2 seeds of " in says and "but 1 in the summary" in says


def test_what_the_scripts_say_of_an_arm_is_what_the_config_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def script(figure: str) -> dict:
        return runpy.run_path(str(SCRIPTS / f"{figure}.py"))

    for lmm, prompts in script("figure_4a")["ARMS"].items():
        settings = {arm: PLANS[lmm].arms[arm].settings for arm in prompts}
        assert prompts == {arm: s["pairs"].prompts or s["prompts"].n for arm, s in settings.items()}
    betas = {arm: beta for arm, (beta, _) in script("figure_7a")["ARMS"].items()}
    assert betas == {arm: PLANS["discrete"].arms[arm].settings["align"].beta for arm in betas}
    gammas = script("figure_7b")["ARMS"]
    aligned = {arm: PLANS["continuous"].arms[arm].settings["align"] for arm in gammas}
    assert aligned.pop("gamma_6").gamma == 6.0
    assert {arm: gammas[arm][0] for arm in aligned} == pytest.approx({a: s.spreads / 3 for a, s in aligned.items()})
    for lmm, plan in PLANS.items():
        judges = script("figure_judge")["ARMS"]
        assert {a: s for a, s in judges.items() if s is not None} == {
            a: plan.arms[a].settings["pairs"].spoiled for a, s in judges.items() if s is not None
        }
        for arm, (n, images) in {f"of_30_{n}x{n}": (n, 30) for n in script("figure_4b")["SIZES"]}.items():
            own = plan.arms[arm].settings
            assert (own["pairs"].top_n, own["images"].n) == (n, images), f"{lmm}/{arm}"
    assert Pairs().min_gap == 0.1  # "default: least gap 0.1" of figure_filters
