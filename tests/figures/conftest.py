"""Made-up tables for the scripts of paper_figures/: as `silmm summarize` writes them, of the arms of the config."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml

from silmm import arms
from silmm.report.summarize import CATEGORIES, GAINS, SUMMARY, table
from silmm.rng import generator
from silmm.shapeworld.language import SUBCATEGORIES

from .program import SCRIPTS, run_program

CONFIG = yaml.safe_load((SCRIPTS.parent / "config/default.yaml").read_text())
PLANS = arms.plans(CONFIG)
FIGURES = sorted({figure for plan in PLANS.values() for figure in plan.figures})
SAMPLERS = {"discrete": ("t1.0", "top_p0.9"), "continuous": ("fresh_noise", "constant_noise")}
IMAGES = 96


class Drawn(NamedTuple):
    """What a script was given, and what it made."""

    summary: pd.DataFrame
    gains: pd.DataFrame
    csv: pd.DataFrame
    out: Path  # without suffix


Policy = tuple[str, str, int]  # LMM, arm, iteration


def policies(figure: str) -> Iterator[Policy]:
    """The policies of a figure in the config, a base before its arms."""
    for lmm, plan in PLANS.items():
        if figure in plan.figures:
            yield lmm, "base", 0
            for entry in plan.entries(figure):
                yield lmm, entry.arm, entry.iteration


def expected(drawn: Drawn, lmm: str, arm: str, category: str, iteration: int = 1, versus: str = "base") -> pd.Series:
    """The row of gains.csv (sampler: the LMM's default) that a script should have drawn."""
    wanted = {"lmm": lmm, "arm": arm, "category": category, "iteration": iteration, "versus": versus}
    rows = drawn.gains[(drawn.gains.sampler == SAMPLERS[lmm][0])]
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    (row,) = (row for _, row in rows.iterrows())
    return row


def assert_point(row: pd.Series, wanted: pd.Series) -> None:
    """A drawn row has the value, the gain and the interval of a row of gains.csv (both to six digits)."""
    names = {"value": "value", "gain": "gain_abs", "low": "ci_low", "high": "ci_high"}
    assert [row[name] for name in names] == pytest.approx([wanted[name] for name in names.values()], abs=2e-6)


def _share(lmm: str, arm: str, iteration: int, category: str, sampler: str) -> float:
    """A policy's made-up share of a category; the same wherever the policy is asked for."""
    return float(generator("figures", lmm, arm, iteration, category, sampler).uniform(0.2, 0.7))


def tables(listed: list[Policy]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """summary.csv and gains.csv of these policies, one seed: shares, and gains with intervals around them."""
    summary: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    for lmm, arm, iteration in listed:
        named = {"lmm": lmm, "arm": arm, "iteration": iteration}
        against = [who for who in listed if who[0] == lmm and _compared((arm, iteration), who[1:])]
        for sampler, category in itertools.product(SAMPLERS[lmm], CATEGORIES):
            value = _share(lmm, arm, iteration, category, sampler)
            what = {"sampler": sampler, "category": category, "metric": "oracle_prompt"}
            around = {"ci_low": value - 0.05, "ci_high": value + 0.05}
            summary.append({**named, **what, **around, "seed": 0, "value": value, "n": IMAGES})
            for _, other, at in against:
                base = _share(lmm, other, at, category, sampler)
                difference = {"base": base, "value": value, "gain_abs": value - base, "gain_rel": value / base - 1}
                half = float(generator("half", lmm, arm, iteration, other, category).uniform(0.01, 0.1))
                ends = {"ci_low": value - base - half, "ci_high": value - base + half}
                none = {"t_low": math.nan, "t_high": math.nan, "seeds": 1}
                role = {"role": "main" if arm == "silmm" else "control", "versus": other}
                gains.append({**named, **what, **role, **difference, **ends, **none})
        if arm not in ("base", "best_of_n"):
            summary += _pairs(named)
    return pd.DataFrame(summary)[list(SUMMARY)], pd.DataFrame(gains)[list(GAINS)]


def _compared(policy: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether gains.csv holds the policy against the other: all against the base, the main arm against each."""
    return policy[0] != other[0] and policy[0] != "base" and (other[0] == "base" or policy == ("silmm", other[1]))


def _pairs(named: dict[str, Any]) -> list[dict[str, Any]]:
    """How often the oracle agrees with the pairs: no pairs of non_spatial are left for an arm, all of the others."""
    rows = []
    for category in SUBCATEGORIES:
        if (named["arm"], category) != ("gap_30", "non_spatial"):
            draw = generator("pairs", named["lmm"], named["arm"], category)
            decided, ties = (int(n) for n in draw.integers(20, 60, 2))
            none = {"ci_low": math.nan, "ci_high": math.nan, "sampler": "step2", "category": category, "seed": 0}
            right = {"metric": "pair_accuracy", "value": float(draw.uniform(0.3, 0.9)), "n": decided}
            alike = {"metric": "pair_ties", "value": ties / (decided + ties), "n": decided + ties}
            rows += [{**named, **none, **right}, {**named, **none, **alike}]
    return rows


def write(folder: Path, summary: pd.DataFrame, gains: pd.DataFrame) -> None:
    """The tables in the bytes that `silmm summarize` would give them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, columns, rows in (("summary", SUMMARY, summary), ("gains", GAINS, gains)):
        (folder / f"{name}.csv").write_text(table(columns, rows.to_dict("records")))


def run_script(figure: str, folder: Path, out: Path) -> None:
    """Run the script of a figure on the tables in a folder."""
    run_program(figure, ["--summary", folder / "summary.csv", "--gains", folder / "gains.csv", "--out", out])


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Drawn]:
    """`drawn(figure)`: the figure of the made-up tables of its arms; each is drawn once."""

    @functools.cache
    def draw(figure: str) -> Drawn:
        folder = tmp_path_factory.mktemp(figure)
        summary, gains = tables(list(policies(figure)))
        write(folder, summary, gains)
        run_script(figure, folder, folder / f"{figure}.png")
        return Drawn(summary, gains, pd.read_csv(folder / f"{figure}.csv"), folder / figure)

    return draw
