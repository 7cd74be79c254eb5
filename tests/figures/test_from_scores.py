"""A table and a figure of a real run: what they draw, counted again from the oracle's judgements of every image."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from ..conftest import SMOKE, Smoke
from ..workflow.conftest import ROOT, run_snakemake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("smoke")]
SAMPLER = {"discrete": "t1.0", "continuous": "fresh_noise"}
GROUPS = {"attribute": ["color", "shape", "texture"], "layout": ["spatial_2d", "spatial_3d", "numeracy"]}


@pytest.fixture(scope="module")
def paper(smoke: Smoke) -> Path:
    """The folder that the targets write to; the smoke run's files are all they need."""
    run_snakemake(ROOT, smoke.folder, "--cores", "1", *SMOKE, "--", "table_1", "figure_3")
    return smoke.results / "paper"


def satisfied(smoke: Smoke, lmm: str, iteration: int) -> pd.Series:
    """Per sub-category, the share of images of which every unit holds."""
    folder = smoke.results / f"{lmm}/seed0" / (f"silmm/iter{iteration}" if iteration else "base")
    rows = pd.read_parquet(folder / "eval.parquet")
    rows = rows[rows.sampler == SAMPLER[lmm]]
    return rows.groupby(["subcategory", "prompt_id", "sample"]).oracle.all().groupby("subcategory").mean()


def test_figure_3_is_what_the_oracle_found(smoke: Smoke, paper: Path) -> None:
    drawn = pd.read_csv(paper / "figure_3.csv")
    ours = drawn[drawn.whose == "ours"]
    assert len(ours) == 2 * 8 * 3  # LMMs, sub-categories, the base and two iterations
    for row in ours.itertuples():
        before, after = (satisfied(smoke, row.lmm, t)[row.category] for t in (0, row.iteration))
        assert row.value == pytest.approx(after, abs=1e-5)
        assert row.gain == pytest.approx(after - before, abs=1e-5)


def test_table_1_is_what_the_oracle_found(smoke: Smoke, paper: Path) -> None:
    drawn = pd.read_csv(paper / "table_1.csv")
    ours = drawn[(drawn.whose == "ours") & drawn.category.isin(list(GROUPS))]
    assert len(ours) == 2 * 2  # LMMs, groups of three sub-categories
    for row in ours.itertuples():
        before, after = (satisfied(smoke, row.lmm, t)[GROUPS[row.category]].mean() for t in (0, 2))
        assert row.base == pytest.approx(before, abs=1e-5)
        assert row.value == pytest.approx(after, abs=1e-5)
