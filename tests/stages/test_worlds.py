"""The stages with an LMM of the open world: its language, its reasons, and one line where an oracle is needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import DiscreteImages, Drawn, Sampling
from silmm.records import PAIRS, Prompt, PromptQuestions, Question, read_jsonl, write_jsonl, write_table
from silmm.report import funnel
from silmm.report.entries import Policy
from silmm.settings import Evaluate, Images, Pairs, Prompts, Questions
from silmm.stages import (
    contact_sheet,
    divdrop_grid,
    diversity,
    evaluate,
    gallery,
    inference,
    pairs,
    prompts,
    questions,
    sample_sheet,
)
from silmm.stages.align import load_preferences
from silmm.stages.worlds import WORLDS

ANSWER = "kettle -> Is there a kettle?\nred kettle -> Is the kettle red?\nwhat is it\nkettle -> Is there a kettle?"


class Parrot(DiscreteImages):
    """An LMM of the open world that says what it was given, and draws one grey picture after the other."""

    world, images, length = "open", "discrete", 1

    def __init__(self, drafts: Sequence[str] = (), answers: dict[str, str] | None = None, side: int = 96) -> None:
        self.drafts, self.answers, self.side = list(drafts), answers or {}, side
        self.looked: list[Sequence[str]] = []

    def write(self, subcategories: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        return [self.drafts.pop(0) for _ in subcategories]

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        return [self.answers.get(prompt, "no idea") for prompt in prompts]

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        return Drawn(np.arange(len(keys[0]))[None, :, None].repeat(len(prompts), 0))

    def render(self, tokens_NL: np.ndarray) -> np.ndarray:
        return np.broadcast_to(tokens_NL[:, :, None, None], (len(tokens_NL), self.side, self.side, 3)).astype(np.uint8)

    def answer(self, tokens_NL: np.ndarray, questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        raise AssertionError("pictures of the open world are looked at, not made of their tokens again")

    def look(self, images: Sequence[np.ndarray], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.looked += list(questions)
        both = zip(images, questions, strict=True)
        return [np.tile([0.5 + 0.01 * image[0, 0, 0], 0.5], (len(texts), 1)) for image, texts in both]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Whatever is loaded from now on is this LMM."""
    monkeypatch.setattr(models, "name_of", lambda folder: "janus")
    return lambda lmm: monkeypatch.setattr(models, "load", lambda folder: lmm)


def test_the_funnel_knows_the_reasons_of_both_worlds() -> None:
    for name, known in (("shapeworld", funnel.SHAPEWORLD), ("open", funnel.OPEN)):
        assert {f"prompts_{reason}" for reason in WORLDS[name].reasons} == set(known)


def test_prompts_are_cleaned_and_counted_by_their_reasons(tmp_path: Path, load) -> None:  # type: ignore[no-untyped-def]
    load(Parrot(["1. **A red kettle and a blue cup.**", "", "A red kettle and a blue cup.", "a round box and a bag"]))
    out, stats = tmp_path / "prompts.jsonl", tmp_path / "stats.json"
    prompts.run(Prompts(n=2, attempts=3), ckpt=tmp_path, seed=0, iteration=1, out=out, stats=stats)
    rows = read_jsonl(out, Prompt)
    assert [(row.subcategory, row.prompt, row.attempt) for row in rows] == [
        ("color", "A red kettle and a blue cup.", 0),
        ("shape", "a round box and a bag", 2),
    ]
    counted = json.loads(stats.read_text())
    assert counted["drafts"] == 4
    assert {name: n for name, n in counted["dropped"].items() if n} == {"empty": 1, "duplicate": 1}
    assert set(counted["dropped"]) == {*WORLDS["open"].reasons, "duplicate", "unfilled"}


def test_no_prompt_at_all_is_said_with_the_reasons(tmp_path: Path, load) -> None:  # type: ignore[no-untyped-def]
    load(Parrot([""] * 4))
    paths = {"out": tmp_path / "prompts.jsonl", "stats": tmp_path / "stats.json"}
    with pytest.raises(InputError, match="not one of 4 drafts is a valid prompt .*'empty': 4.*better instructed"):
        prompts.run(Prompts(n=2, attempts=2), ckpt=tmp_path, seed=0, iteration=1, **paths)


def asked(tmp_path: Path, settings: Questions) -> tuple[list[PromptQuestions], dict]:
    """Step 3 on two prompts, with questions about the first alone."""
    rows = [Prompt(f"p{i}", "attribute", "color", text, 0) for i, text in enumerate(("a red kettle.", "a cup, a box"))]
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    paths = {"prompts": tmp_path / "prompts.jsonl", "out": tmp_path / "qa.jsonl", "stats": tmp_path / "qa.stats.json"}
    questions.run(settings, ckpt=tmp_path, **paths)
    return read_jsonl(paths["out"], PromptQuestions), json.loads(paths["stats"].read_text())


@pytest.mark.parametrize("fallback", ["none", "prompt"])
def test_questions_and_their_fallback(tmp_path: Path, load, fallback: str) -> None:  # type: ignore[no-untyped-def]
    load(Parrot(answers={"a red kettle.": ANSWER}))
    (first, second), stats = asked(tmp_path, Questions(fallback=fallback))
    assert first.units == ("kettle", "red kettle")
    assert [(q.text, q.parents) for q in first.questions] == [
        ("Is there a kettle?", ()),
        ("Is the kettle red?", ("q0",)),
    ]
    stands_in = fallback == "prompt"
    assert [q.text for q in second.questions] == ["a cup, a box?"] * stands_in
    assert second.units == ()
    assert (stats["prompts"], stats["without_questions"], stats["fallback"]) == (2, 1 - stands_in, int(stands_in))
    assert (stats["questions"], stats["malformed"], stats["duplicate"]) == (2 + stands_in, 2, 1)
    assert stats["malformed_share"] == 2 / 5  # of what the LMM wrote
    assert stats["coverage"] is None


def test_no_question_at_all_is_an_error_but_for_the_fallback(tmp_path: Path, load) -> None:  # type: ignore[no-untyped-def]
    load(Parrot())
    with pytest.raises(InputError, match="not one well-formed question for 2 prompts: a larger or better"):
        asked(tmp_path, Questions())
    records, stats = asked(tmp_path, Questions(fallback="prompt"))
    assert [[q.text for q in r.questions] for r in records] == [["a red kettle?"], ["a cup, a box?"]]
    assert stats["malformed_share"] == 1.0


def test_the_phrases_of_plain_english(tmp_path: Path, load) -> None:  # type: ignore[no-untyped-def]
    load(Parrot())
    records, _ = asked(tmp_path, Questions(strategy="phrase"))
    assert [[q.text for q in r.questions] for r in records] == [["a red kettle?"], ["a cup?", "a box?"]]


def test_step_5_learns_the_answer_that_step_3_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy's own texts are in the form that it is asked for; a prompt that stood in for its questions is not."""
    write_jsonl(tmp_path / "prompts.jsonl", [Prompt(f"p{i}", "attribute", "color", f"a cup {i}", 0) for i in range(2)])
    own, dropped = WORLDS["open"].split(ANSWER)
    assert dropped.total() == 2
    records = [WORLDS["open"].questions_of("p0", own), PromptQuestions("p1", (), (Question("q0", "a cup 1?"),))]
    write_jsonl(tmp_path / "qa.jsonl", records)
    write_table(tmp_path / "pairs.parquet", {name: [] for name in PAIRS.columns}, PAIRS)
    monkeypatch.setattr("silmm.stages.align.np.stack", lambda rows: np.zeros((0, 1), np.int64))  # no pair, no image
    files = (tmp_path / "pairs.parquet", tmp_path / "prompts.jsonl", tmp_path / "qa.jsonl")
    texts = load_preferences(*files, (), "discrete", "open").texts
    assert ("ask", "a cup 0", "\n".join(ANSWER.splitlines()[:2])) in texts
    assert [row for row in texts if row[0] == "ask"] == [row for row in texts if row[1] == "a cup 0"]


@pytest.mark.parametrize(("side", "shown"), [(96, 96), (64, 512), (30, 240)])
def test_draw_keeps_the_prompt_and_enlarges_tiny_pictures(
    tmp_path: Path, load, capsys: pytest.CaptureFixture[str], side: int, shown: int
) -> None:  # type: ignore[no-untyped-def]
    load(Parrot(answers={"A Red Kettle.": ANSWER}, side=side))
    out = tmp_path / "best.png"
    inference.draw(ckpt=tmp_path, prompt=" A Red  Kettle. ", n=3, best=True, out=out, seed=0, settings=Images())
    said = capsys.readouterr().out
    assert "questions: Is there a kettle? Is the kettle red?" in said
    assert "sample 2: self-score +0.020  <- best" in said
    assert Image.open(out).size == (shown, shown)


@pytest.mark.parametrize("question", ["Is the Kettle red?", "Is the Kettle red", " Is the Kettle red ? "])
def test_ask_keeps_the_words(tmp_path: Path, load, capsys: pytest.CaptureFixture[str], question: str) -> None:  # type: ignore[no-untyped-def]
    lmm = Parrot()
    load(lmm)
    Image.new("RGB", (7, 5), (25, 0, 0)).save(tmp_path / "a.png")
    inference.ask(ckpt=tmp_path, image=tmp_path / "a.png", question=question)
    assert lmm.looked == [["Is the Kettle red?"]]
    assert capsys.readouterr().out == "yes  p_yes=0.750 p_no=0.500\n"


def test_ask_shows_a_picture_as_a_viewer_does(tmp_path: Path, load) -> None:  # type: ignore[no-untyped-def]
    """Turned, and white where it is transparent."""
    lmm, seen = Parrot(), []
    answers = [np.array([[0.5, 0.25]])]
    lmm.look = lambda images, questions: (seen.extend(images), answers)[1]  # type: ignore[method-assign]
    load(lmm)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGBA", (7, 5), (25, 0, 0, 0)).save(tmp_path / "a.png", exif=exif)
    inference.ask(ckpt=tmp_path, image=tmp_path / "a.png", question="Is it red?")
    assert seen[0].shape == (7, 5, 3) and (seen[0] == 255).all()


def test_ask_looks_at_the_picture_before_it_loads_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    monkeypatch.setattr(inference.models, "load", lambda folder: pytest.fail("a model is loaded"))
    with pytest.raises(InputError, match=r"x.png: not a picture that can be read \(it is no whole PNG"):
        inference.ask(ckpt=tmp_path, image=tmp_path / "x.png", question="Is it red?")


def judging(folder: Path) -> dict[str, object]:
    """What needs the oracle, each as a call."""
    out = {"seed": 0, "out": folder / "out"}
    both = {"base": folder / "ckpt", "after": folder / "ckpt"}
    policies = [Policy("discrete", t, folder / "ckpt") for t in range(2)]
    return {
        "evaluate": lambda: evaluate.run(Evaluate(), ckpt=folder / "ckpt", stats=folder / "stats", **out),
        "contact_sheet": lambda: contact_sheet.run(**both, **out),
        "sample_sheet": lambda: sample_sheet.run(Images(), **both, **out),
        "divdrop_grid": lambda: divdrop_grid.run(Images(), ckpt=folder / "ckpt", **out),
        "diversity": lambda: diversity.run(Images(), ckpt=folder / "ckpt", strength=1.0, **out),
        "gallery": lambda: gallery.run(policies=policies, **out),
    }


@pytest.mark.parametrize("name", judging(Path()))
def test_what_needs_the_oracle_says_so_in_one_line(tmp_path: Path, load, name: str) -> None:  # type: ignore[no-untyped-def]
    load(Parrot())
    with pytest.raises(InputError) as caught:
        judging(tmp_path)[name]()  # type: ignore[operator]
    assert str(caught.value) == (
        f"{tmp_path / 'ckpt'}: an LMM of the open world, which ShapeWorld's oracle cannot judge:"
        " give the checkpoint of a ShapeWorld LMM"
    )
    assert not (tmp_path / "out").exists()


def test_the_oracle_ranks_no_pictures_of_the_open_world(tmp_path: Path) -> None:
    from silmm.records import SCORES

    record = PromptQuestions("p0", ("kettle",), (Question("q0", "Is there a kettle?"),))
    write_jsonl(tmp_path / "qa.jsonl", [record])
    columns = {"prompt_id": ["p0", "p0"], "sample": [0, 1], "question_id": ["q0", "q0"], "p_yes": [0.9, 0.1]}
    write_table(tmp_path / "scores.parquet", {**columns, "p_no": [0.1, 0.9]}, SCORES)
    paths = {"scores": tmp_path / "scores.parquet", "qa": tmp_path / "qa.jsonl", "images": (tmp_path / "shard-0",)}
    keys = {"seed": 0, "iteration": 1, "out": tmp_path / "pairs.parquet", "stats": tmp_path / "stats.json"}
    with pytest.raises(InputError, match="pairs.scorer is oracle: it judges ShapeWorld's questions, and there is none"):
        pairs.run(Pairs(scorer="oracle"), **paths, **keys)
