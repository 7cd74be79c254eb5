"""Figure 5 on a tiny table: its numbers are the table's, and a table that is not whole is refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from silmm.records import DIVERSITY, write_table
from silmm.shapeworld.language import SUBCATEGORIES

from .program import complaint

STRATEGIES = ("none", "rephrase", "explain", "noisy", "divdrop")
GROUPS = {
    "attribute": ("color", "shape", "texture"),
    "layout": ("spatial_2d", "spatial_3d", "numeracy"),
    "non_spatial_complex": ("non_spatial", "complex"),
    "all": SUBCATEGORIES,
}


def measured(prompts: int = 3, samples: int = 4) -> pd.DataFrame:
    """Random verdicts on a few prompts of each sub-category."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for strategy, name, p in itertools.product(STRATEGIES, SUBCATEGORIES, range(prompts)):
        for k in range(1 if strategy == "none" else samples):
            row = {"strategy": strategy, "prompt_id": f"{name}-{p}", "subcategory": name, "sample": k}
            whole = bool(rng.random() < 0.5)
            text = f"{name} {k // 2 if strategy in ('rephrase', 'explain') else 0}"
            judged = {"text": text, "whole": whole, "held": 1.0 if whole else 0.5, "malformed": False, "asked": 3}
            rows.append({**row, **judged, "own_score": round(rng.uniform(-1, 1), 1), "distance": rng.uniform(0, 0.1)})
    return pd.DataFrame(rows)


def table(folder: Path, data: pd.DataFrame) -> Path:
    path = folder / "diversity.parquet"
    write_table(path, {name: data[name].tolist() for name in DIVERSITY.columns}, DIVERSITY)
    return path


def draw(path: Path, out: Path) -> str:
    """Run the script; the line on stderr with which it ends, if it fails."""
    words = ["--measured", str(path), "--out", str(out)]
    return complaint("figure_5", words)


def test_values_are_those_of_the_table(tmp_path: Path) -> None:
    data = measured()
    assert draw(table(tmp_path, data), tmp_path / "a/figure_5.png") == ""
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["figure_5.csv", "figure_5.pdf", "figure_5.png"]
    made = pd.read_csv(tmp_path / "a/figure_5.csv")
    assert set(made.strategy) == set(STRATEGIES) and set(made.category) == set(GROUPS)
    for strategy, (group, names) in itertools.product(STRATEGIES, GROUPS.items()):
        mine = data[(data.strategy == strategy) & data.subcategory.isin(names)]
        own = made[(made.strategy == strategy) & (made.category == group)]
        runs = own[own.metric == "run"].set_index("sample").value
        for k, run in mine.groupby("sample"):
            assert np.isclose(runs[k], run.groupby("subcategory").whole.mean().mean(), rtol=1e-5)
        best = [part.loc[part.own_score.idxmax()] for _, part in mine.groupby("prompt_id")]
        expected = {
            "mean": mine.groupby("subcategory").whole.mean().mean(),
            "best_of_n": pd.DataFrame(best).groupby("subcategory").whole.mean().mean(),
            "spread": mine.groupby("subcategory").distance.mean().mean(),
            "texts": mine.groupby("prompt_id").text.nunique().mean(),
            "malformed": 0.0,
        }
        found = own[own.metric != "run"].set_index("metric")
        assert set(found.index) == set(expected)
        for metric, value in expected.items():
            assert np.isclose(found.value[metric], value, rtol=1e-5), (strategy, group, metric)
            assert found.low[metric] <= value + 1e-6 and value - 1e-6 <= found.high[metric]
        assert set(found.prompts) == {3 * len(names)}


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    path = table(tmp_path, measured(prompts=2, samples=3))
    for name in "ab":
        assert draw(path, tmp_path / name / "figure_5.png") == ""
    for file in sorted((tmp_path / "a").iterdir()):
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("lost", ["strategy", "sample", "subcategory", "file"])
def test_a_table_that_is_not_whole_is_refused(tmp_path: Path, lost: str) -> None:
    data = measured(prompts=2, samples=3)
    keep = {
        "strategy": data.strategy != "noisy",
        "sample": ~((data.strategy == "explain") & (data.prompt_id == "color-0") & (data["sample"] == 2)),
        "subcategory": data.subcategory != "numeracy",
        "file": data.strategy != "",
    }[lost]
    path = table(tmp_path, data[keep])
    if lost == "file":
        path.unlink()
    done = draw(path, tmp_path / "a/figure_5.png")
    assert "\n" not in done
    assert "diversity.parquet: " in done and "silmm diversity" in done
    assert not (tmp_path / "a").exists()
