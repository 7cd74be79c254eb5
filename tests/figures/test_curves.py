"""Figures 3, 4 and 7: every number in the CSV is that of the tables behind it, beside the paper's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from silmm.shapeworld.language import SUBCATEGORIES

from .conftest import Drawn, assert_point, expected

SEED, DREAM = 21.098750, 23.97625  # overall scores of the paper's bases: (3 * attribute + 3 * layout + the rest) / 8
GROUPS = ("attribute", "layout", "non_spatial", "complex")


def written(it: Drawn) -> bool:
    """Both pictures are there."""
    return all(it.out.with_suffix(suffix).stat().st_size > 5000 for suffix in (".png", ".pdf"))


def test_figure_3_has_every_iteration_of_both(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("figure_3")
    ours, paper = it.csv[it.csv.whose == "ours"], it.csv[it.csv.whose == "paper"]
    keys = {(lmm, c, t) for lmm in ("discrete", "continuous") for c in SUBCATEGORIES for t in range(4)}
    assert {(row.lmm, row.category, row.iteration) for row in ours.itertuples()} == keys
    assert {(row.lmm, row.category, row.iteration) for row in paper.itertuples()} == keys
    for _, row in ours[ours.iteration > 0].iterrows():
        assert_point(row, expected(it, row.lmm, "silmm", row.category, row.iteration))
    texture = paper[(paper.lmm == "continuous") & (paper.category == "texture")]
    assert list(texture.sort_values("iteration").value) == [0.259, 0.395, 0.475, 0.471]
    assert written(it)


@pytest.mark.parametrize("figure", ["figure_4a", "figure_4b"])
def test_figure_4_has_all_sub_categories_together(figure: str, drawn: Callable[[str], Drawn]) -> None:
    it = drawn(figure)
    for _, row in it.csv.iterrows():
        assert_point(row, expected(it, row.lmm, row.arm, "all"))
    for lmm, base in (("discrete", SEED), ("continuous", DREAM)):
        known = it.csv[(it.csv.lmm == lmm) & it.csv.paper.notna()]
        assert list(known.paper_gain) == pytest.approx(list(known.paper - base), abs=1e-4)
    assert written(it)


def test_figure_4a_puts_shares_of_the_most_beside_each_other(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("figure_4a").csv
    assert len(it) == 10 and list(it.share) == list(it.paper_prompts / 16000)
    assert list(it[it.lmm == "discrete"].prompts) == [20, 40, 80, 160, 320]


def test_figure_4b_has_the_default_apart(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("figure_4b").csv
    default = it[it.arm == "silmm"]
    assert len(default) == 2 and default.paper.isna().all() and default.n.isna().all()
    own = it[(it.lmm == "continuous") & (it.arm != "silmm")]
    assert list(own.n) == [1, 2, 4, 6, 8, 10] and own.paper.iloc[0] == 20.6


@pytest.mark.parametrize(
    ("figure", "lmm", "paper"), [("figure_7a", "discrete", 38.3), ("figure_7b", "continuous", 40.3)]
)
def test_figure_7_has_every_group(figure: str, lmm: str, paper: float, drawn: Callable[[str], Drawn]) -> None:
    it = drawn(figure)
    arms = set(it.gains.arm)
    assert {(row.category, row.arm) for row in it.csv.itertuples()} == {(g, a) for g in GROUPS for a in arms}
    for _, row in it.csv.iterrows():
        assert_point(row, expected(it, lmm, row.arm, row.category))
    assert it.csv.paper.iloc[0] == paper
    assert set(it.csv[it.csv.paper.isna()].arm) == ({"gamma_6"} if figure == "figure_7b" else set())
    assert written(it)
