"""Figure 6 on a tiny grid: its numbers are the grid's and the paper's, and a grid without them is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .program import complaint

GROUPS = ("attribute", "layout", "non_spatial_complex")
RATES = (0.1, 0.15, 0.3, 0.5, 0.7)


def grid() -> pd.DataFrame:
    """Two layers by five rates, and two rows without dropout first, as the stage writes them."""
    rng = np.random.default_rng(0)
    cells = [(0.0, 0, "prompt"), (0.0, 0, "free"), *((r, k, "prompt") for k in (1, 2) for r in RATES)]
    rows = []
    for rate, layers, noise in cells:
        row = {"rate": rate, "layers": layers, "noise": noise, "samples": 10, "prompts": 12}
        for group in GROUPS:
            best = rng.uniform(0.3, 0.6)
            row |= {f"prompts_{group}": 6, f"oracle_prompt_{group}": rng.uniform(0.1, 0.3)}
            row |= {f"best_of_n_{group}": best, f"best_of_n_{group}_low": best - 0.1}
            row |= {f"best_of_n_{group}_high": best + 0.1, f"best_run_{group}": best - 0.2}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(path: Path, out: Path, layers: int = 2) -> str:
    """Run the script; the line on stderr with which it ends, if it fails."""
    words = ["--measured", str(path), "--layers", str(layers), "--out", str(out)]
    return complaint("figure_6", words)


def test_values_are_those_of_the_grid_beside_the_paper_s(tmp_path: Path) -> None:
    data = grid()
    data.to_csv(tmp_path / "grid.csv", index=False)
    for name in "ab":
        assert draw(tmp_path / "grid.csv", tmp_path / name / "figure_6.png") == ""
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    made = pd.read_csv(tmp_path / "a/figure_6.csv").set_index(["category", "metric", "rate"])
    assert len(made) == 3 * 3 * 4
    for group, metric, rate in itertools.product(GROUPS, ("best_of_n", "best_run", "oracle_prompt"), (0.1, 0.3, 0.7)):
        cell = data[(data.layers == 2) & (data.rate == rate)].iloc[0]
        row = made.loc[(group, metric, rate)]
        assert np.isclose(row.value, cell[f"{metric}_{group}"], rtol=1e-5)
        if metric == "best_of_n":
            assert np.isclose(row.low, cell[f"best_of_n_{group}_low"], rtol=1e-5)
    assert made.loc[("attribute", "best_of_n", 0.3)].paper == 30.7
    assert made.loc[("layout", "best_run", 0.7)].paper == 23.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[data.rate != 0.5], "0 rows of rate 0.5 in the last 2 layers: expected one"),
        (lambda data: data[data.layers != 2], "0 rows of rate 0.1 in the last 2 layers"),
        (lambda data: data.drop(columns="best_run_layout"), "no column best_run_layout"),
        (lambda data: data.assign(best_of_n_layout=np.nan), "empty cells"),
        (lambda data: None, "no such file"),
    ],
)  # fmt: skip
def test_a_grid_that_lacks_something_is_refused(tmp_path: Path, change: object, says: str) -> None:
    data = change(grid())  # type: ignore[operator]
    if data is not None:
        data.to_csv(tmp_path / "grid.csv", index=False)
    done = draw(tmp_path / "grid.csv", tmp_path / "a/figure_6.png")
    assert "\n" not in done
    assert f"grid.csv: {says}" in done and "--forcerun divdrop_grid" in done
    assert not (tmp_path / "a").exists()
