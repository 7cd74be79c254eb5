"""The sample sheet: the same names of random draws for both policies, and the oracle's word on each picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silmm import lmm as models
from silmm.errors import InputError
from silmm.report.sample_sheet import Strip
from silmm.settings import Images
from silmm.shapeworld import exam
from silmm.shapeworld.language import CORE
from silmm.stages import sample_sheet
from tests.lmm.conftest import build

from .conftest import Puppet

STEP_2 = Images(n=4, rate=0.3, layers=1, noise="prompt", noises=2)
Shown = list[tuple[list[Strip], list[str]]]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the stage hands to the report."""
    found: Shown = []
    monkeypatch.setattr(sample_sheet, "sample_sheet", lambda strips, out, lines: found.append((strips, lines)))
    return found


def test_both_policies_draw_with_the_same_names(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = [t for t in exam.prompts(8) if t.subcategory in CORE]
    before, after = Puppet(tests), Puppet(tests)
    monkeypatch.setattr(models, "load", {Path("base"): before, Path("after"): after}.get)
    sample_sheet.run(STEP_2, base=Path("base"), after=Path("after"), seed=0, out=tmp_path / "x.png")
    (keys, sampling), again = before.drawn[0], after.drawn[0]
    assert again == (keys, sampling)
    assert (sampling.rate, sampling.layers, sampling.noise, sampling.noises) == (0.3, 1, "prompt", 1)
    ((strips, lines),) = shown
    assert [(s.prompt, s.category) for s in strips] == [(t.prompt, t.subcategory) for t in tests]
    assert all(s.base_ok.tolist() == s.after_ok.tolist() == [True, True, False, False] for s in strips)
    assert all(np.array_equal(s.base_rgb, s.after_rgb) and len(s.base_rgb) == 4 for s in strips)
    assert "DivDrop with rate 0.3 in the last layer, one decoder noise a prompt; seed 0" in lines[1]


def test_a_discrete_lmm_has_one_too(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda folder: build())
    sample_sheet.run(Images(n=3, top_p=0.9), base=tmp_path, after=tmp_path, seed=0, out=tmp_path / "x.png")
    ((strips, lines),) = shown
    assert [len(s.base_rgb) for s in strips] == [3] * 6
    assert all(np.array_equal(s.base_rgb, s.after_rgb) for s in strips)
    assert len({picture.tobytes() for s in strips for picture in s.base_rgb}) > 6
    assert lines[1].startswith("drawn at temperature 1, top-p 0.9; seed 0")


def test_settings_that_do_not_fit_are_refused(shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    puppet = Puppet([t for t in exam.prompts(8) if t.subcategory in CORE])
    monkeypatch.setattr(models, "load", lambda folder: puppet)
    with pytest.raises(InputError, match=r"base: DivDrop's layers is 9: must be 0 to 2"):
        sample_sheet.run(
            Images(rate=0.1, layers=9), base=Path("base"), after=Path("after"), seed=0, out=tmp_path / "x.png"
        )
    assert not shown
