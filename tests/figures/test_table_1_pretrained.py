"""Table 1 of pretrained LMMs: what scores.csv says, beside the paper's digits, and judges are not mixed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from silmm.report.benchmark_table import Line, to_csv
from silmm.report.table_1 import HEAD

from .program import complaint, run_program

SCORES = {  # benchmark, category: base, + SILMM
    ("t2i_compbench++", "color"): (40.0, 60.0),
    ("t2i_compbench++", "attribute"): (44.79, 59.7061),
    ("t2i_compbench++", "layout"): (32.3, 31.0),
    ("t2i_compbench++", "non_spatial"): (30.0, 30.5),
    ("tifa", "all"): (81.0, 85.25),
}
PAPER = (
    "44.79 32.30 30.15 31.32 84.19 80.81 82.75 87.23 50.80 74.19 81.86",
    "59.71 36.03 30.51 33.93 84.19 81.57 84.52 89.01 64.80 77.45 85.11",
)
ROLES = {"non_spatial": ("clip: clip x", "official")}


def write(folder: Path, number: int, **change: str | int) -> Path:
    """A policy's folder of scores; the corrected ones are one point higher. `change`: of T2I's attribute rows."""
    for name in ("t2i_compbench++", "tifa"):
        lines = []
        for (of, category), both in SCORES.items():
            if of != name:
                continue
            judge, standing = ROLES.get(category, ("vqa: blip x", "another judge, first 2 prompts of each category"))
            for more, variant in enumerate(("official", "corrected")):
                value = both[number] + more
                line = Line(name, "x", variant, category, value, value - 1, value + 1, 16, 160, judge, standing)
                lines.append(line._replace(**change) if category == "attribute" else line)  # type: ignore[arg-type]
        (folder / name).mkdir(parents=True)
        (folder / name / "scores.csv").write_text(to_csv(lines))
    return folder


def words(folder: Path, lmm: str = "emu3") -> list[str]:
    """What the rule gives the script."""
    both = ((folder / "base", "base", 0), (folder / "silmm", "silmm", 3))
    entries = [f"lmm={lmm},arm={arm},seed=0,iteration={t},dir={path}" for path, arm, t in both]
    out = ["--benchmarks", "t2i_compbench++", "tifa", "--out", str(folder / "table.png")]
    return [*(word for entry in entries for word in ("--entry", entry)), *out]


def cells(folder: Path) -> list[list[str]]:
    """The rows of the LaTeX table."""
    lines = (folder / "table.tex").read_text().splitlines()
    return [line.removesuffix(" \\\\").split(" & ") for line in lines if line.endswith("\\\\")]


def test_ours_stand_beside_the_paper_s(tmp_path: Path) -> None:
    write(tmp_path / "base", 0)
    write(tmp_path / "silmm", 1)
    run_program("table_1_pretrained", words(tmp_path))
    head, *rows = cells(tmp_path)
    assert len(head) == 1 + len(HEAD)
    assert [row[0] for row in rows] == [
        "emu3: base", "+ SILMM, iteration 3", "gain", "Emu3 (paper): base", "+ SILMM", "gain",
    ]  # fmt: skip
    assert rows[0][1:] == ["44.79*", "32.30*", "30.00", *["-"] * 7, "81.00*"]
    assert rows[1][1:] == ["59.71*", "31.00*", "30.50", *["-"] * 7, "85.25*"]
    assert rows[2][1:4] == ["+14.92*", "$-$1.30*", "+0.50"]
    assert [" ".join(row[1:]) for row in rows[3:5]] == list(PAPER)
    text = (tmp_path / "table.tex").read_text()
    judged = "Ours, Attr, Layout, TIFA: judged by vqa: blip x; another judge, first 2 prompts of each category. *: not"
    assert judged in text
    assert "Ours, Non-sp: judged by clip: clip x; official.\n" in text and "One seed: not a claim." in text


def test_the_csv_has_both_arithmetics_and_the_intervals(tmp_path: Path) -> None:
    write(tmp_path / "base", 0)
    write(tmp_path / "silmm", 1)
    run_program("table_1_pretrained", words(tmp_path))
    table = pd.read_csv(tmp_path / "table.csv")
    ours = table[(table.whose == "ours") & (table.category == "attribute")]
    assert list(zip(ours.arm, ours.variant, ours.score, strict=True)) == [
        ("base", "official", 44.79), ("base", "corrected", 45.79),
        ("silmm", "official", 59.7061), ("silmm", "corrected", 60.7061),
    ]  # fmt: skip
    assert list(ours.ci_low) == pytest.approx([43.79, 44.79, 58.7061, 59.7061])
    assert set(ours.judge) == {"vqa: blip x"} and set(ours.pictures) == {160}
    assert len(table[table.whose == "paper"]) == 2 * len(HEAD)
    assert "color" not in set(table.category)


def test_an_lmm_that_the_paper_has_not_stands_alone(tmp_path: Path) -> None:
    write(tmp_path / "base", 0)
    write(tmp_path / "silmm", 1)
    run_program("table_1_pretrained", words(tmp_path, "janus"))
    assert [row[0] for row in cells(tmp_path)[1:]] == ["janus: base", "+ SILMM, iteration 3", "gain"]
    assert "The paper has no janus." in (tmp_path / "table.tex").read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"judge": "vqa: qwen"}, r"attribute \(official\): judge is 'vqa: blip x' of one policy and 'vqa: qwen' of"),
        ({"standing": "official"}, "standing is 'another judge"),
        ({"items": 2400}, "items is 16 of one policy and 2400 of another: their scores do not compare"),
    ],
)
def test_what_was_judged_in_two_ways_is_not_one_table(tmp_path: Path, change: dict[str, str | int], says: str) -> None:
    write(tmp_path / "base", 0)
    write(tmp_path / "silmm", 1, **change)
    assert re.search(says, complaint("table_1_pretrained", words(tmp_path)))
    assert not (tmp_path / "table.tex").exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (Path.unlink, "scores.csv: no such file: judge the pictures again"),
        (lambda file: file.write_text("a,b\n1,2\n"), "scores.csv: columns are a, b: expected benchmark, lmm"),
        (lambda file: file.write_text(file.read_text().replace("30.0000", "x")), "scores.csv: not a table of scores"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[Path], object], says: str) -> None:
    write(tmp_path / "base", 0)
    write(tmp_path / "silmm", 1)
    damage(tmp_path / "base/t2i_compbench++/scores.csv")
    assert says in complaint("table_1_pretrained", words(tmp_path))
