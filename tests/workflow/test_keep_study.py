"""What is kept of a study: its files, whole, and how they were made."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

PLAIN = ("gains.csv", "figures/accuracy.png", "contact_sheet_discrete.png", "samples_discrete.png")
PAPER = ("paper/table_1.png", "paper/table_1.csv", "paper/table_1.tex")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for name in (*PLAIN, *PAPER, "paper/table_1/summary.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "summary.csv").write_text("seed,value\n2,0.5\n0,0.5\n")
    return folder


def keep(results: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(ROOT / "workflow/scripts/keep_study.py"), "--results", str(results)]
    out = ("--out", str(results.parent / "study"), "--command", "make study")
    return subprocess.run([*program, *out, *words], capture_output=True, text=True)


def test_all_of_it_is_kept_with_how_it_was_made(results: Path) -> None:
    done = keep(results)
    assert done.returncode == 0, done.stderr
    study = results.parent / "study"
    found = {str(path.relative_to(study)): path.read_text() for path in study.rglob("*") if path.is_file()}
    made = json.loads(found.pop("study.json"))
    assert found == {
        **{Path(name).name: name for name in PLAIN},
        **{name: name for name in PAPER},
        "summary.csv": "seed,value\n2,0.5\n0,0.5\n",
    }
    assert made["seeds"] == [0, 2] and made["command"] == "make study" and made["processor"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made["date"]) and made["commit"]


def test_the_paper_alone(results: Path) -> None:
    assert keep(results, "--paper-alone").returncode == 0
    study = results.parent / "study"
    assert {path.name for path in study.rglob("*") if path.is_file()} == {
        "study.json",
        *(Path(name).name for name in PAPER),
    }


def test_half_a_run_is_not_kept(results: Path) -> None:
    (results / "paper/table_1.tex").unlink()
    done = keep(results)
    assert done.returncode == 1 and not (results.parent / "study").exists()
    assert re.fullmatch(r"keep_study: error: .*/paper/\*.tex: there is none; make the figures first .*\n", done.stderr)
