"""`silmm draw` and `silmm ask`: what everybody tries first, and what they say where there is nothing to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from silmm import lmm as models
from silmm.errors import InputError
from silmm.outputs import MARKER, PNG
from silmm.settings import Images
from silmm.shapeworld.language import Thing, Unit, parse_single
from silmm.shapeworld.oracle import judge, read
from silmm.stages import inference, own_score
from silmm.stages.worlds import WORLDS
from tests.stages.test_worlds import ANSWER, Parrot

SHIPPED = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Whatever is loaded from now on is this LMM."""
    return lambda lmm: monkeypatch.setattr(models, "load", lambda folder: lmm)


def draw(tmp_path: Path, **changes: Any) -> None:
    given: dict[str, Any] = {"ckpt": tmp_path, "prompt": "a cup", "n": 3, "best": False, "out": tmp_path / "out"}
    inference.draw(seed=0, settings=Images(), **given | changes)


@pytest.mark.parametrize("lmm", ["discrete", "continuous"])
@pytest.mark.parametrize("prompt", ["a red circle", " Red  circle."])
def test_a_single_thing_is_drawn_and_asked_about(
    lmm: str, prompt: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The LMM's own questions are about two things here; whether it is there, it answers as the oracle does."""
    draw(tmp_path, ckpt=SHIPPED / f"{lmm}_seed0", prompt=prompt, n=4)
    said = capsys.readouterr().out
    assert said.splitlines()[1] == "questions (not the LMM's own): is there a red circle ?"
    scores = [float(score) for score in re.findall(r"sample \d: self-score ([+-]\d\.\d{3})\n", said)]
    small = [np.asarray(Image.open(tmp_path / f"out/sample_{k}.png"))[::8, ::8] for k in range(4)]
    held = [judge(Unit("exist", Thing("circle", "red")), scene) for scene in read(np.stack(small))]
    assert [score > 0.5 for score in scores] == held and sum(held) >= 2


@pytest.mark.parametrize(
    ("text", "thing"),
    [
        ("a circle", Thing("circle")),
        ("small striped blue square", Thing("square", "blue", "striped", "small")),
        ("two circles", None),
        ("a red circle and a blue square", None),
        ("a red", None),
        ("a", None),
        ("", None),
        ("a circle circle", None),
    ],
)
def test_what_is_a_single_thing(text: str, thing: Thing | None) -> None:
    assert parse_single(text) == thing
    known = WORLDS["shapeworld"].known(text)
    assert [unit for _, unit in known] == ([Unit("exist", thing)] if thing else [])
    assert WORLDS["open"].known(text) == []


@pytest.mark.parametrize("text", ["", " ", "\n\t", ".", "?", "\N{NO-BREAK SPACE}", " ?! "])
def test_nothing_is_no_prompt_and_no_question(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda folder: pytest.fail("the LMM is loaded"))
    with pytest.raises(InputError, match=r"the prompt is empty: give one, e\.g\."):
        draw(tmp_path, prompt=text)
    with pytest.raises(InputError, match=r"the question is empty: give one, e\.g\."):
        inference.ask(ckpt=tmp_path, image=tmp_path / "a.png", question=text)
    assert not (tmp_path / "out").exists()


def test_the_best_of_nothing_scored_is_not_said_to_be_it(
    tmp_path: Path, load, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    load(Parrot())
    out = tmp_path / "best.png"
    draw(tmp_path, best=True, out=out)
    said = capsys.readouterr().out
    assert said.splitlines()[1:] == [
        "questions: none (the LMM wrote no well-formed question, so nothing can be scored)",
        f"wrote {out}: sample 0, since nothing could be scored",
    ]
    assert np.asarray(Image.open(out))[0, 0].tolist() == [0, 0, 0]


def test_one_picture_is_one_file(tmp_path: Path, load, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    load(Parrot(answers={"a cup": ANSWER}))
    for _ in range(2):
        draw(tmp_path, n=1, out=tmp_path / "one.png")
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / 'one.png'}\n")
    assert PNG in (tmp_path / "one.png").read_bytes()
    draw(tmp_path, n=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARKER, "sample_0.png"]
    with pytest.raises(InputError, match=r"two.png: --out is a folder, unless --best or --n 1 asks for one picture"):
        draw(tmp_path, n=2, out=tmp_path / "two.png")


def test_a_photo_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda folder: pytest.fail("the LMM is loaded"))
    photo = tmp_path / "out/best.png"
    photo.parent.mkdir()
    Image.new("RGB", (3, 3)).save(photo)
    before = photo.read_bytes()
    for changes in ({"best": True}, {"best": True, "out": photo}, {"n": 1, "out": photo}, {}):
        with pytest.raises(InputError, match="nothing was touched"):
            draw(tmp_path, **changes)
    assert photo.read_bytes() == before


def test_a_score_that_rounds_to_zero_has_no_minus(
    tmp_path: Path, load, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    load(Parrot(answers={"a cup": ANSWER}))
    monkeypatch.setattr(own_score, "image_score", lambda rows, probs: -0.0001)
    draw(tmp_path, n=2)
    assert "sample 1: self-score +0.000\n" in capsys.readouterr().out
