"""The tables of docs/results.md: printed for each LMM, from the numbers of the two csv files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

SCRIPT = Path(__file__).parents[2] / "paper_figures" / "study_tables.py"


def printed(folder: Path, code: int = 0) -> str:
    command = [sys.executable, str(SCRIPT), "--study", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def text(results_of_two: Path) -> str:
    """The tables of both LMMs."""
    return printed(results_of_two)


def section(text: str, lmm: str, title: str) -> list[list[str]]:
    """The cells of the rows of one table, its head first."""
    after = text.split(f"## The {lmm} LMM\n")[1].split(f"### {title}")[1]
    lines = after.split("\n\n")[1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in [lines[0], *lines[2:]]]


def test_one_lmm_has_no_heading_of_its_own(results: Path) -> None:
    text = printed(results)
    assert text.startswith("### Whole prompts, category `core`\n\n| arm | iteration | sampler | base | value |")
    assert "\n## " not in text
    assert "### What DPO adds: `silmm` against the other arms" in text
    assert "objects" not in text


def test_each_lmm_has_its_tables_with_the_numbers_of_the_files(text: str, results_of_two: Path) -> None:
    assert text.index("## The discrete LMM") < text.index("## The continuous LMM")
    gains = pd.read_csv(results_of_two / "gains.csv")
    gains = gains[(gains.lmm == "continuous") & (gains.category == "core") & (gains.versus == "base")]
    head, base, *rows = section(text, "continuous", "Both noises side by side")
    assert [row[:2] for row in rows] == [
        *(["silmm = kc_dpo", "1"], ["silmm = kc_dpo", "2"], ["sft", "1"], ["gamma_10", "1"], ["best_of_n", "1"]),
    ]
    for sampler, name in (("fresh_noise", "fresh noise"), ("constant_noise", "constant noise")):
        at = gains[(gains.sampler == sampler) & (gains.arm == "silmm") & (gains.iteration == 2)].set_index("metric")
        whole, objects = at.loc["oracle_prompt"], at.loc["objects"]
        place = head.index(name)
        assert base[place] == f"{whole.base:.3f}"
        assert rows[1][place : place + 3] == [
            f"{whole.value:.3f}",
            f"{whole.gain_abs:+.3f} ({whole.ci_low:+.3f} to {whole.ci_high:+.3f})",
            f"{100 * whole.gain_rel:+.0f} %",
        ]
        assert rows[1][head.index(f"malformed, {name}")] == f"{at.loc['malformed'].value:.3f}"
        drift = f"{objects.value:.3f} ({100 * objects.gain_rel:+.1f} %)"
        assert rows[1][head.index(f"objects, {name}")] == drift
    _, *rows = section(text, "continuous", "Whole prompts, category `core`")
    assert {row[0] for row in rows} == {"silmm = kc_dpo", "sft", "gamma_10", "best_of_n"}
    assert [row[2] for row in rows] == ["fresh_noise"] * 5 + ["constant_noise"] * 5


def test_the_main_arm_stands_against_its_controls(text: str, results_of_two: Path) -> None:
    gains = pd.read_csv(results_of_two / "gains.csv").query("lmm == 'continuous' and metric == 'oracle_prompt'")
    gains = gains[(gains.category == "core") & (gains.sampler == "fresh_noise") & (gains.versus == "sft")]
    _, *rows = section(text, "continuous", "What KC-DPO adds: `silmm` = `kc_dpo` against the other arms")
    assert [row[:3] for row in rows[:2]] == [["sft", "1", "fresh_noise"], ["sft", "1", "constant_noise"]]
    assert rows[0][3] == f"{gains.gain_abs.item():+.3f}"
    assert {row[0] for row in rows} == {"sft", "gamma_10", "best_of_n"}  # not kc_dpo: it is the main arm


def test_what_cannot_be_read_is_named_in_one_line(results: Path, tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text((results / "summary.csv").read_text())
    says = printed(tmp_path, code=1)
    assert says == f"study_tables: error: {tmp_path}/gains.csv: no such file; run silmm summarize\n"
