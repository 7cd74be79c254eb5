"""The figure and the contact sheet: written whole, the same bytes twice, and right where a test can see it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from silmm.errors import InputError
from silmm.report import accuracy, summarize
from silmm.report.contact_sheet import Tile, contact_sheet
from silmm.report.entries import Entry

SCRIPT = Path(__file__).parents[2] / "paper_figures" / "accuracy.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> Path:
    folder = tmp_path_factory.mktemp("results")
    summarize.run(entries, folder / "summary.csv", folder / "gains.csv")
    return folder


def test_figure_is_the_same_bytes_twice_and_its_numbers_are_the_tables(results: Path) -> None:
    options = {"--summary": results / "summary.csv", "--gains": results / "gains.csv", "--out": results / "a" / "fig"}
    command = [sys.executable, str(SCRIPT), *(str(part) for pair in options.items() for part in pair)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy.run(results / "summary.csv", results / "gains.csv", results / "b" / "fig.png")
    made = sorted(p.name for p in (results / "a").iterdir())
    assert made == ["fig.csv", "fig.pdf", "fig.png"]
    for name in made:
        assert (results / "a" / name).read_bytes() == (results / "b" / name).read_bytes(), name
    drawn = pd.read_csv(results / "a" / "fig.csv")
    gains = pd.read_csv(results / "gains.csv")
    ours = drawn[(drawn.panel == "iterations") & (drawn.arm == "silmm") & (drawn.iteration == 3)]
    theirs = gains.query("arm == 'silmm' and iteration == 3 and versus == 'base' and metric == 'oracle_prompt'")
    theirs = theirs[theirs.category == "core"]
    assert ours.value.item() == pytest.approx(theirs.value.item(), rel=1e-5)
    assert ours.ci_low.item() == pytest.approx(theirs.base.item() + theirs.ci_low.item(), rel=1e-4)
    assert set(drawn[drawn.panel == "categories"].category) >= {"color", "spatial_3d"}


def test_figure_says_what_is_missing(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.csv: no such file"):
        accuracy.run(tmp_path / "none.csv", results / "gains.csv", tmp_path / "fig")
    with pytest.raises(InputError, match="no trained arm of LMM discrete with sampler greedy"):
        accuracy.run(results / "summary.csv", results / "gains.csv", tmp_path / "fig", sampler="greedy")
    assert list(tmp_path.iterdir()) == []


def tile(ok: bool, side: int = 30, category: str = "color") -> Tile:
    picture = np.full((side, side, 3), 128, np.uint8)
    picture[0, 0] = (1, 2, 3)
    text = "a big striped yellow triangle partly hidden by a small solid green circle with a red square"
    return Tile(text, category, picture, picture, False, ok)


def test_contact_sheet(tmp_path: Path) -> None:
    tiles = [tile(True), tile(False), tile(True, side=256, category="shape"), tile(True, side=7, category="spatial_2d")]
    contact_sheet(tiles, tmp_path / "a.png", "a title")
    contact_sheet(tiles, tmp_path / "b.png", "a title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    corner = (pixels == (1, 2, 3)).all(2).sum()
    assert corner == 4 * 4 * 4 + 2 * 17 * 17  # enlarged by whole pixels, never blurred: 4 x 30 and 17 x 7 pixels


def test_contact_sheet_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        contact_sheet([], tmp_path / "a.png", "")
    bad = Tile("a", "color", np.zeros((3, 3)), np.zeros((3, 3, 3), np.uint8), True, True)
    with pytest.raises(ValueError, match="uint8"):
        contact_sheet([bad], tmp_path / "a.png", "")
    assert list(tmp_path.iterdir()) == []
