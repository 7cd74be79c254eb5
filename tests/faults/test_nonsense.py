"""An LMM that answers nonsense: what it wrote is counted and left out, or refused in one line; nothing of it reaches a
file that the next stage reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.lmm.interface import Drawn
from silmm.records import Prompt, PromptQuestions, PromptStats, QuestionStats, read_json, read_jsonl
from tests.faults.conftest import Site, refusal, run

TEXTS = {
    "empty": "",
    "blank": " \t\n ",
    "control": "\x00\x01\x1b[2Jis there a circle ?\x7f",
    "long": "a " * 50_000,
    "long_word": "a" * 100_000,
    "surrogate": "is there a \ud800 circle ?",
    "lines": "is there\na circle\r\n?\u2028\u0085",
    "right_to_left": "\u202eis there a circle ?\u202c",
    "script": "</script><script>alert(1)</script>",
    "path": "../../etc/passwd",
    "shell": "$(touch pwned); `touch pwned` && rm -rf x",
    "template": "{{ x }} {x} %s ${x}",
    "yaml": "&a [*a, *a]\n---\n!!python/object/apply:os.system ['true']",
    "questions": "? ? ??? ?",
    "parts": "-> ? -> is ?\n1. a -> b -> is it? no?\n: is it\x00 a dog?",
    "nested": "is is is there there a a ? " * 1000,
    "emoji": "👩‍👩‍👧 a red circle 🟥",
}


class Nonsense:
    """Says the same text whatever it is asked, after the first answer of each kind, which is right."""

    images, length = "discrete", 4

    def __init__(self, world: str, text: str) -> None:
        self.world, self.text = world, text

    draw = look = text_nll = save = parameters = learners = render = answer = lambda self, *given, **named: None

    def write(self, names: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        right = {"shapeworld": "a red circle and a blue square", "open": "a red kettle and a blue towel"}[self.world]
        return [right if name == "color" else self.text for name in names]

    def ask(self, prompts: Sequence[str], *, max_tokens: int) -> list[str]:
        right = {"shapeworld": "is there a circle ?", "open": "kettle -> Is there a kettle?"}[self.world]
        return [right, *[self.text] * (len(prompts) - 1)]


@pytest.mark.parametrize("world", ["shapeworld", "open"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_nonsense_is_counted_and_left_out(
    world: str, text: str, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silmm.lmm.load", lambda folder: Nonsense(world, text))
    prompts, stats = site.folder / "p.jsonl", site.folder / "p.stats.json"
    words = ["prompts", "--ckpt", str(site.folder / "ckpt"), "--iteration", "1", "--n", "8", "--attempts", "2"]
    assert run([*words, "--out", str(prompts), "--stats", str(stats)], capsys)[0] == 0
    counts = read_json(stats, PromptStats)
    kept = read_jsonl(prompts, Prompt)
    assert counts.drafts == counts.kept + sum(counts.dropped.values()) - counts.dropped["unfilled"]
    assert all(row.prompt.isprintable() and "<" not in row.prompt and "$" not in row.prompt for row in kept)

    qa, stats = site.folder / "q.jsonl", site.folder / "q.stats.json"
    words = ["questions", "--ckpt", str(site.folder / "ckpt"), "--prompts", str(site.folder / "prompts.jsonl")]
    assert run([*words, "--out", str(qa), "--stats", str(stats)], capsys)[0] == 0
    asked = read_jsonl(qa, PromptQuestions)
    assert [row.prompt_id for row in asked] == [row.id for row in read_jsonl(site.folder / "prompts.jsonl", Prompt)]
    assert all(q.text.isprintable() for row in asked for q in row.questions)
    assert read_json(stats, QuestionStats).questions == sum(len(row.questions) for row in asked)


@pytest.mark.parametrize("world", ["shapeworld", "open"])
@pytest.mark.parametrize("count", [0, 1, 99])
def test_texts_that_are_too_few_are_refused(
    world: str, count: int, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = Nonsense(world, "")
    monkeypatch.setattr("silmm.lmm.load", lambda folder: lmm)
    monkeypatch.setattr(lmm, "write", lambda *given, **named: ["a"] * count)
    monkeypatch.setattr(lmm, "ask", lambda *given, **named: ["a"] * count)
    for stage in ("prompts", "questions"):
        words = [word for word in site.command(stage) if word not in ("--strategy", "prompt")]
        assert f"wrote {count} texts" in refusal_of_lmm(words, site, capsys)


def refusal_of_lmm(words: list[str], site: Site, capsys: pytest.CaptureFixture[str]) -> str:
    """The line that a broken LMM ends with: its folder, and nothing made."""
    before = site.contents()
    code, said = run(words, capsys)
    assert code == 2, said
    assert "Traceback" not in said
    assert site.contents() == before
    message = said.splitlines()[-1]
    assert f"error: {site.folder / 'ckpt'}: " in message
    assert len(message) < 500
    return message


ANSWERS: dict[str, Any] = {
    "nan": lambda n: np.full((n, 2), np.nan),
    "infinite": lambda n: np.full((n, 2), np.inf),
    "below_zero": lambda n: np.full((n, 2), -0.1),
    "above_one": lambda n: np.full((n, 2), 1.5),
    "too_few": lambda n: np.full((n - 1, 2), 0.5),
    "a_column": lambda n: np.full((n, 1), 0.5),
    "flat": lambda n: np.full(n, 0.5),
    "nothing": lambda n: np.zeros((0, 2)),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_that_are_no_probabilities_are_refused(
    answer: Any, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = Nonsense("shapeworld", "")
    monkeypatch.setattr("silmm.lmm.load", lambda folder: lmm)
    for name in ("answer", "look"):
        monkeypatch.setattr(lmm, name, lambda seen, asked: [answer(len(rows)) for rows in asked], raising=False)
    monkeypatch.setattr(lmm, "render", lambda tokens: np.zeros((len(tokens), 30, 30, 3), np.uint8), raising=False)
    assert "the LMM answered" in refusal_of_lmm(site.command("score"), site, capsys)
    if answer is not ANSWERS["nothing"]:
        assert "the LMM answered" in refusal_of_lmm(photo(site), site, capsys)


def photo(site: Site) -> list[str]:
    """`silmm ask` about a picture."""
    from tests.faults.damage import png

    (site.folder / "photo.png").write_bytes(png())
    return ["ask", str(site.folder / "photo.png"), "is there a circle ?", "--ckpt", str(site.folder / "ckpt")]


SHAPE = (12, 2, 4)
PICTURES: dict[str, Drawn] = {
    "neither": Drawn(),
    "a_sample_short": Drawn(np.zeros((12, 1, 4), np.int64)),
    "flat": Drawn(np.zeros(12, np.int64)),
    "not_whole": Drawn(np.zeros(SHAPE)),
    "below_zero": Drawn(np.full(SHAPE, -1)),
    "features_not_finite": Drawn(np.zeros(SHAPE, np.int64), np.full((12, 2, 3, 5), np.nan, np.float32)),
    "features_of_a_discrete_one": Drawn(np.zeros(SHAPE, np.int64), np.zeros((12, 2, 3, 5), np.float32)),
    "pixels_that_are_none": Drawn(None, None, np.zeros((12, 2, 8, 8, 3), np.float32)),
}


@pytest.mark.parametrize("drawn", PICTURES.values(), ids=PICTURES)
def test_pictures_that_are_none_are_refused(
    drawn: Drawn, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lmm = Nonsense("shapeworld", "")
    monkeypatch.setattr("silmm.lmm.load", lambda folder: lmm)
    monkeypatch.setattr(lmm, "draw", lambda prompts, keys, sampling: drawn, raising=False)
    assert "the LMM drew" in refusal_of_lmm(site.command("images"), site, capsys)


@pytest.mark.parametrize("text", ["a dog", "a red circle " * 10, "a " * 999, "\x1b[2J", "</script>", "é"])
def test_prompts_that_the_lmm_cannot_take_are_named(text: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file that another LMM wrote, or a person."""
    for name, key in (("prompts.jsonl", "prompt"), ("qa.jsonl", "text")):
        lines = (site.folder / name).read_text().splitlines()
        row = json.loads(lines[1])
        (row if key == "prompt" else row["questions"][0])[key] = text
        (site.folder / name).write_text("\n".join([lines[0], json.dumps(row), *lines[2:]]) + "\n")
    refusal(site.command("images"), site.folder / "prompts.jsonl", capsys)
    refusal(site.command("score"), site.folder / "qa.jsonl", capsys)
    words = [word for word in site.command("questions") if word not in ("--strategy", "prompt")]
    refusal(words, site.folder / "prompts.jsonl", capsys)


def test_visual_tokens_of_another_lmm_are_named(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.numpy import load_file, save_file

    file = site.folder / "images/shard-0/representations.safetensors"
    tokens = load_file(str(file))["tokens"]
    for wrong in (tokens + 100_000, tokens - 1000, np.repeat(tokens, 2, 1)):
        save_file({"tokens": wrong}, str(file))
        for stage in ("score", "align"):
            refusal(site.command(stage), file.parent, capsys)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(20), bytes(100)])
def test_a_photo_that_is_none_is_named(content: bytes, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    words = photo(site)
    Path(words[1]).write_bytes(content)
    refusal(words, words[1], capsys)
