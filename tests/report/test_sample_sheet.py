"""The sample sheet: two rows of framed pictures a prompt, written whole, the same bytes twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm.report.sample_sheet import Strip, sample_sheet
from silmm.report.sheet import FAILS, HOLDS


def strip(base: list[bool], after: list[bool], side: int = 30) -> Strip:
    pictures = np.full((len(base), side, side, 3), 128, np.uint8)
    pictures[:, 0, 0] = (1, 2, 3)
    return Strip("a red circle", "color", pictures, pictures[: len(after)], np.array(base), np.array(after))


def test_every_picture_is_there_with_its_verdict(tmp_path: Path) -> None:
    strips = [strip([True, False, False], [True, True, False]), strip([False] * 3, [True] * 3, side=45)]
    for name in ("a.png", "b.png"):
        sample_sheet(strips, tmp_path / name, ["a title", "what else"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert (pixels == (1, 2, 3)).all(2).sum() == 6 * 3 * 3 + 6 * 2 * 2  # enlarged by whole pixels: 30 to 90, 45 to 90
    frame = 100 * 100 - 94 * 94  # pixels of one
    for color, frames in ((HOLDS, 6), (FAILS, 6)):
        found = (pixels == color).all(2).sum()
        assert frames * frame <= found < (frames + 1) * frame  # and marks, and the legend


def test_it_refuses_what_it_cannot_show(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not of none"):
        sample_sheet([], tmp_path / "a.png", ["a title"])
    with pytest.raises(ValueError, match=r"one number of samples, not of \[2, 3\]"):
        sample_sheet([strip([True] * 3, [True] * 2)], tmp_path / "a.png", ["a title"])
    bad = strip([True], [True])
    with pytest.raises(ValueError, match="uint8"):
        sample_sheet(
            [Strip("a", "color", bad.base_rgb / 2, bad.after_rgb, bad.base_ok, bad.after_ok)], tmp_path / "a.png", [""]
        )
    assert list(tmp_path.iterdir()) == []
