"""The grid behind DivDrop's settings: what it measures of samples that a test decides, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain_continuous as painting
from silmm.report.stats import percentile_interval
from silmm.settings import Images, Pretrain
from silmm.shapeworld import exam
from silmm.shapeworld.language import CORE
from silmm.stages import divdrop_grid
from tests.lmm.conftest import build

from .conftest import Puppet

STEP_2 = Images(n=4, rate=0.3, layers=1, noise="prompt", noises=2)


@pytest.fixture
def policy() -> Puppet:
    return Puppet([t for t in exam.prompts(16) if t.subcategory in CORE], blind=("shape",))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divdrop_grid, "PROMPTS", 1)
    monkeypatch.setattr(divdrop_grid, "RATES", (0.5,))


def measured(policy: Puppet) -> pd.DataFrame:
    cells = [Sampling(noise="prompt"), *(Sampling(rate=rate, layers=k) for k in (1, 2) for rate in (0.1, 0.5))]
    return pd.DataFrame(divdrop_grid.measure(policy, policy.tests, cells, seed=3, n=4))


def test_each_cell_is_measured(policy: Puppet) -> None:
    table = measured(policy)
    assert list(zip(table.rate, table.layers, strict=True)) == [(0, 0), (0.1, 1), (0.5, 1), (0.1, 2), (0.5, 2)]
    assert set(table.prompts) == {12} and set(table.samples) == {4}
    plain, one, two = table.iloc[0], table[table.layers == 1], table[table.layers == 2]
    assert (plain.oracle_prompt, plain.best_of_n, plain.best_of_n_oracle) == (0.5, 0.5, 0.5)
    assert (plain.spread, plain.malformed, plain.score_sd) == (0, 0, 0)
    assert set(one.oracle_prompt) == {0.5} and set(two.oracle_prompt) == {0.75}  # 2 and 3 of 4 are right
    assert np.allclose(table.best_of_n[1:], 5 / 6)  # where its score is blind, it takes a wrong one
    assert set(table.best_of_n_oracle[1:]) == {1.0}
    assert set(table.malformed[1:]) == {0.25}
    assert np.allclose(one.score_sd, np.std([0.8, 0.8, -0.8, -0.8], ddof=1), rtol=1e-5)
    for table in (one, two):
        for rate, spread in zip(table.rate, table.spread, strict=True):
            pairs = [math.cos(rate * (b - a)) for a in range(4) for b in range(a + 1, 4)]
            assert np.isclose(spread, 1 - np.mean(pairs), rtol=1e-4)


def test_intervals_are_over_prompts(policy: Puppet) -> None:
    """All prompts of a sub-category are alike here: with others of that kind, nothing would change."""
    table = measured(policy)
    for name in ("oracle_prompt", "best_of_n", "best_of_n_oracle"):
        for end in ("low", "high"):
            np.testing.assert_allclose(table[f"{name}_{end}"], table[name])
    core = divdrop_grid._over(policy.tests, np.arange(12.0), CORE)
    low, high = percentile_interval(core.draws_R)
    assert low < core.value < high and core.value == 5.5


def test_cells_differ_by_rate_and_layers_alone(policy: Puppet) -> None:
    measured(policy)
    keys = [keys for keys, _ in policy.drawn]
    assert all(rows == keys[0] for rows in keys)
    assert len({key for row in keys[0] for key in row}) == 12 * 4
    assert policy.answered == 12 * 3  # a right, a wrong and a malformed picture a prompt, each looked at once


def test_the_grid_holds_what_step_2_uses() -> None:
    cells = divdrop_grid._cells(Sampling(rate=0.15, layers=1, site="output", noise="prompt"), 2)
    rates = sorted({*divdrop_grid.RATES, 0.15})
    assert [(c.rate, c.layers) for c in cells] == [(0, 0), (0, 0), *((r, k) for k in (1, 2) for r in rates)]
    assert [c.noise for c in cells] == ["prompt", "free", *["prompt"] * 2 * len(rates)]
    assert {c.site for c in cells} == {"output"}


def test_groups_are_the_paper_s() -> None:
    """One prompt a sub-category; with dropout in one layer, samples 0 and 1 of 4 are right."""
    policy = Puppet(exam.prompts(8), blind=("texture", "complex"))
    row = divdrop_grid.measure(policy, policy.tests, [Sampling(rate=0.1, layers=1)], seed=3, n=4)[0]
    assert [row[f"prompts_{group}"] for group in ("attribute", "layout", "non_spatial_complex")] == [3, 3, 2]
    assert (row["prompts"], row["oracle_prompt_layout"]) == (6, 0.5)
    assert np.allclose([row["best_of_n_attribute"], row["best_of_n_layout"]], [2 / 3, 1])
    assert (row["best_of_n_non_spatial_complex"], row["best_run_layout"]) == (0.5, 1.0)


def test_prompts_without_questions_have_no_score(policy: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "ask", lambda prompts, max_tokens: [""] * len(prompts))
    monkeypatch.setattr(policy, "answer", lambda tokens, questions: [np.zeros((0, 2))] * len(tokens))
    table = measured(policy)
    assert table.score_sd.isna().all()
    assert set(table.best_of_n[1:]) == {1.0}  # the first sample stands for all


@pytest.mark.usefixtures("small")
def test_a_real_one(tmp_path: Path) -> None:
    lmm = painting.new_painter(build(), Pretrain(queries=4, blocks=1, heads=2), data.spec_pool(0, 64), 0)
    lmm.save(tmp_path)
    for name in "ab":
        divdrop_grid.run(STEP_2, ckpt=tmp_path, seed=0, out=tmp_path / name / "grid.png")
    made = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert made == ["grid.csv", "grid.pdf", "grid.png"]
    for name in made:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    table = pd.read_csv(tmp_path / "a/grid.csv")
    assert list(table.layers) == [0, 0, 1, 1, 2, 2]
    assert list(table.spread[:2]) == [0, 0]
    for layers in (1, 2):
        assert table[table.layers == layers].spread.is_monotonic_increasing
        assert (table[table.layers == layers].spread > 0).all()


def test_a_discrete_lmm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda folder: build())
    with pytest.raises(InputError, match=r"its images are discrete: DivDrop is for a continuous LMM"):
        divdrop_grid.run(STEP_2, ckpt=tmp_path, seed=0, out=tmp_path / "grid.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_samplings_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Puppet(exam.prompts(8))

    def refuse(*given: object) -> None:
        raise ValueError("DivDrop's site is 'input'")

    monkeypatch.setattr(policy, "draw", refuse)
    monkeypatch.setattr(models, "load", lambda folder: policy)
    with pytest.raises(InputError, match=r"ckpt: DivDrop's site is 'input'"):
        divdrop_grid.run(STEP_2, ckpt=Path("ckpt"), seed=0, out=tmp_path / "grid.png")
    assert list(tmp_path.iterdir()) == []
