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
from silmm.report import accuracy, panels, tables
from silmm.report.contact_sheet import Tile, contact_sheet
from silmm.report.labels import spread
from silmm.report.summarize import GAINS, SUMMARY

SCRIPT = Path(__file__).parents[2] / "paper_figures" / "accuracy.py"


def drawn_of(folder: Path, out: Path, lmm: str) -> pd.DataFrame:
    """The numbers that the figure shows, after drawing it."""
    accuracy.run(folder / "summary.csv", folder / "gains.csv", out, lmm=lmm)
    return pd.read_csv(out.with_suffix(".csv"), keep_default_na=False)


def test_figure_is_the_same_bytes_twice_and_its_numbers_are_the_tables(results: Path) -> None:
    options = {"--summary": results / "summary.csv", "--gains": results / "gains.csv", "--out": results / "a" / "fig"}
    command = [sys.executable, str(SCRIPT), *(str(part) for pair in options.items() for part in pair)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy.run(results / "summary.csv", results / "gains.csv", results / "b" / "fig.png", lmm="discrete")
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
    summary, gains, out = results / "summary.csv", results / "gains.csv", tmp_path / "out" / "fig"
    old = tmp_path / "old.csv"
    old.write_text(gains.read_text().replace(",role,", ",part,", 1))
    nothing = tmp_path / "nothing.csv"
    nothing.write_text(gains.read_text().replace(",main,", ",control,"))
    for files, lmm, sampler, says in (
        ((tmp_path / "none.csv", gains), "discrete", None, r"none.csv: no such file; run silmm summarize"),
        ((summary, old), "discrete", None, r"old.csv: columns are lmm, arm, part, .*: expected lmm, arm, role, "),
        ((gains, gains), "discrete", None, r"gains.csv: columns are lmm, .*: expected lmm, arm, seed"),
        ((summary, gains), "continuous", None, "summary.csv: no oracle_prompt of an LMM continuous; there is discrete"),
        ((summary, gains), "discrete", "greedy", r"no oracle_prompt of silmm \(LMM discrete\) with sampler greedy"),
        ((summary, nothing), "discrete", None, "nothing.csv: no main arm among dpo, sft, random_score, silmm, best_of"),
    ):
        with pytest.raises(InputError, match=says):
            accuracy.run(*files, out, lmm=lmm, sampler=sampler)
    assert not out.parent.exists()


def test_each_lmm_has_its_figure_and_arms_with_the_same_numbers_are_one_line(
    tmp_path: Path, results_of_two: Path
) -> None:
    discrete = drawn_of(results_of_two, tmp_path / "discrete.png", "discrete")
    assert set(discrete.lmm) == {"discrete"}
    assert set(discrete.same_as) == {""}
    assert "beside" not in set(discrete.panel)
    drawn = drawn_of(results_of_two, tmp_path / "continuous.png", "continuous")
    first = drawn[drawn.panel == "iterations"]
    assert dict(zip(first.arm, first.same_as, strict=True)) == {
        **{"silmm": "kc_dpo", "sft": "", "gamma_10": "", "best_of_n": ""}
    }
    assert set(first.sampler) == {"fresh_noise"}
    beside = drawn[drawn.panel == "beside"]
    assert list(zip(beside.arm, beside.iteration, beside.sampler, strict=True)) == [
        ("silmm", t, "constant_noise") for t in range(3)
    ]
    summary = pd.read_csv(results_of_two / "summary.csv")
    base = summary.query("lmm == 'continuous' and arm == 'base' and metric == 'oracle_prompt' and category == 'core'")
    for rows, sampler in ((first, "fresh_noise"), (beside, "constant_noise")):
        start = rows[(rows.arm == "silmm") & (rows.iteration == 0)].value.item()
        assert start == pytest.approx(base[base.sampler == sampler].value.item(), rel=1e-5)


def test_arms_are_alike_only_if_every_number_is(results_of_two: Path) -> None:
    both = (("summary.csv", SUMMARY), ("gains.csv", GAINS))
    read = [tables.read(results_of_two / name, columns) for name, columns in both]
    summary, gains = (t[t.lmm == "continuous"] for t in read)
    roles = tables.roles(gains)
    assert list(roles) == ["silmm", "kc_dpo", "sft", "gamma_10", "best_of_n"]
    assert tables.alike(summary, roles)["silmm"] == ("silmm", "kc_dpo")
    row = summary.index[(summary.arm == "kc_dpo") & (summary.metric == "malformed")][-1]
    summary.loc[row, "value"] += 1e-3
    assert tables.alike(summary, roles) == {arm: (arm,) for arm in roles}


def test_every_arm_has_a_colour_and_the_main_one_its_own() -> None:
    roles = {"mine": "main", "sft": "control", **{f"arm_{i}": "control" for i in range(5)}, "vote": "untrained"}
    looks = panels.looks({arm: (arm,) for arm in roles}, roles)
    assert looks["mine"] == ("mine", panels.MAIN_COLOR, True, True)
    assert looks["vote"] == ("vote", panels.UNTRAINED_COLOR, False, False)
    assert looks["sft"].name == "SFT"
    assert looks["arm_3"].name == "arm 3"
    assert len({looks[arm].color for arm in ("mine", "vote", "sft", "arm_0", "arm_1", "arm_2", "arm_3")}) == 7
    assert all(look.color.startswith("#") for look in looks.values())


def test_labels_in_a_column_keep_apart_and_near_their_lines() -> None:
    heights = np.array([10.0, 10.0, 20.0, 10.0])
    assert spread(np.array([0.0, 50.0, 100.0, 150.0]), heights) == pytest.approx([0, 50, 100, 150])  # room for all
    places = spread(np.array([0.0, 2.0, 3.0, 150.0]), heights)
    assert np.diff(places) == pytest.approx([10, 15, 147 - places[2] + 3])
    assert places[:3].mean() == pytest.approx((0 + 2 + 3) / 3)  # those that push each other move about their middle


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
