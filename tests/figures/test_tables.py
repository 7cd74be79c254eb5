"""Tables 1 to 3: every number in the CSV is that of the tables behind it, and the LaTeX is well formed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from silmm.records import EVAL, EvalStats, Metric, write_json, write_table
from silmm.report import summarize
from silmm.report.entries import Entry
from silmm.rng import generator
from silmm.shapeworld.language import SUBCATEGORIES

from .conftest import SAMPLERS, Drawn, assert_point, expected, policies, run_script

GROUPS = ("attribute", "layout", "non_spatial", "complex")
PAPER_TABLE_3 = {"sft_none_cosine": (6.95, 0.29, 16.78, 11.48), "silmm": (34.85, 25.51, 28.82, 25.31)}


def base_of(drawn: Drawn, lmm: str, category: str) -> float:
    """The base's share, from the summary."""
    it = drawn.summary
    rows = it[(it.lmm == lmm) & (it.arm == "base") & (it.category == category) & (it.metric == "oracle_prompt")]
    return rows[rows.sampler == SAMPLERS[lmm][0]].value.item()


def test_table_1_has_the_last_iteration_of_both(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("table_1")
    ours = it.csv[it.csv.whose == "ours"]
    assert list(ours.groupby("lmm").size()) == [4, 4]
    for _, row in ours.iterrows():
        base = base_of(it, row.lmm, row.category)
        assert_point(row, expected(it, row.lmm, "silmm", row.category, iteration=3))
        assert (row.iteration, row.base) == (3, pytest.approx(base, abs=2e-6))
        assert row.gain_rel == pytest.approx(row.gain / base, rel=1e-4)
    seed = it.csv[it.csv.lmm == "SEED-LLaMA"].set_index("category")
    assert [*seed.loc["attribute", ["base", "value", "gain_rel"]]] == [0.192, 0.396, 1.0625]
    assert list(it.csv.lmm.unique()) == ["discrete", "SEED-LLaMA", "Emu3", "continuous", "DreamLLM"]


def test_orders_of_fewer_than_eight_are_not_compared(drawn: Callable[[str], Drawn]) -> None:
    for figure in ("table_1", "table_2"):
        assert "Spearman" not in drawn(figure).out.with_suffix(".tex").read_text()


@pytest.mark.parametrize("figure", ["table_2", "table_3"])
def test_a_row_an_arm_and_group(figure: str, drawn: Callable[[str], Drawn]) -> None:
    it = drawn(figure)
    arms = [arm for _, arm, _ in policies(figure)]
    assert {(row.arm, row.category) for row in it.csv.itertuples()} == {
        (arm, group) for arm in arms for group in (*GROUPS, "core")
    }
    for _, row in it.csv.iterrows():
        if row.arm == "base":
            assert (row.value, row.gain) == (pytest.approx(base_of(it, "continuous", row.category), abs=2e-6), 0)
        else:
            assert_point(row, expected(it, "continuous", row.arm, row.category))
    for arm, paper in PAPER_TABLE_3.items() if figure == "table_3" else ():
        assert tuple(it.csv[(it.csv.arm == arm) & (it.csv.category != "core")].paper) == paper


def test_table_3_says_how_far_the_order_is_the_papers(drawn: Callable[[str], Drawn]) -> None:
    it = drawn("table_3")
    groups = it.csv[(it.csv.category != "core") & (it.csv.arm != "base")]
    means = groups.groupby("arm")[["value", "paper"]].mean()
    found = spearmanr(means.value, means.paper)
    rho = f"{found.statistic:+.2f}".replace("-", "−")
    text = it.out.with_suffix(".tex").read_text()
    assert f"Spearman {rho} (p {found.pvalue:.2f}, n = 10)" in text and "one seed: not a claim" in text
    best = "average pooling with cosine scores highest"
    held = means.value.idxmax() == "silmm"
    assert re.search(
        f"found {'here as in the paper' if held else 'in the paper, NOT here'} .*{best}", text, re.IGNORECASE
    )


@pytest.mark.parametrize("figure", ["table_1", "table_2", "table_3"])
def test_the_latex_is_well_formed(figure: str, drawn: Callable[[str], Drawn]) -> None:
    text = drawn(figure).out.with_suffix(".tex").read_text()
    notes, lines = text.split("\\begin{tabular}")
    assert all(line.startswith("% ") for line in notes.splitlines())
    columns = lines.split("}")[0].removeprefix("{")
    assert columns == "l" + "r" * (len(columns) - 1)
    rules = ("\\toprule", "\\midrule", "\\bottomrule", "\\end{tabular}")
    body = [line for line in lines.splitlines()[1:] if line not in rules]
    for line in body:
        assert line.endswith(" \\\\")
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
        assert not re.search(r"(?<!\\)[%_#]", line) and line.isascii()
        assert line.count("{") == line.count("}") and line.count("$") % 2 == 0
    assert text.count("\\toprule") == text.count("\\bottomrule") == text.count("\\end{tabular}") == 1
    assert text.endswith("\\bottomrule\n\\end{tabular}\n") and "\\midrule\n\\midrule" not in text


def evaluation(folder: Path, arm: str, iteration: int, role: str) -> tuple[Entry, pd.DataFrame]:
    """Made-up answers of the oracle to a policy's pictures, as step `evaluate` writes them."""
    rows = []
    for category in SUBCATEGORIES:
        for prompt in range(3):
            holds = generator(arm, iteration, category, prompt).random((2, 2)) < 0.8
            for sample, unit in np.ndindex(2, 2):
                picture = {"sampler": "fresh_noise", "prompt_id": f"{category}-{prompt}", "subcategory": category}
                answer = {
                    "sample": sample,
                    "unit": f"exist({unit})",
                    "kind": "exist",
                    "oracle": holds[sample, unit].item(),
                }
                rows.append({**picture, **answer, "p_yes": 0.7, "p_no": 0.2, "malformed": False, "objects": 2})
    write_table(folder / "eval.parquet", {name: [row[name] for row in rows] for name in EVAL.columns}, EVAL)
    write_json(folder / "eval.stats.json", EvalStats((Metric("self_score", "fresh_noise", "all", 0.3, 48),)))
    paths = folder / "eval.parquet", folder / "eval.stats.json"
    return Entry("continuous", arm, 0, iteration, *paths, role), pd.DataFrame(rows)


def test_a_table_has_what_the_scores_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        arm: evaluation(tmp_path / arm, arm, iteration, "main" if arm == "silmm" else "control")
        for _, arm, iteration in policies("table_2")
    }
    summarize.run([entry for entry, _ in found.values()], tmp_path / "summary.csv", tmp_path / "gains.csv")
    run_script("table_2", tmp_path, tmp_path / "table_2.png")
    drawn = pd.read_csv(tmp_path / "table_2.csv").set_index(["arm", "category"])
    members = {"attribute": SUBCATEGORIES[:3], "layout": SUBCATEGORIES[3:6], "complex": ("complex",)}
    members |= {"core": tuple(name for name in SUBCATEGORIES if name not in ("spatial_3d", "non_spatial"))}
    shares = {}
    for arm, (_, rows) in found.items():
        whole = rows.groupby(["subcategory", "prompt_id", "sample"]).oracle.all().groupby("subcategory").mean()
        for group, names in members.items():
            shares[arm, group] = whole[list(names)].mean()
            wanted = [shares[arm, group], shares[arm, group] - shares["base", group]]
            assert list(drawn.loc[(arm, group), ["value", "gain"]]) == pytest.approx(wanted, abs=1e-6)
