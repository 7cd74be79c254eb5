"""What the gallery shows: pictures of the evaluation, the policy's own answers, and the oracle's word on each."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm.errors import InputError
from silmm.report.entries import Policy
from silmm.shapeworld import exam
from silmm.shapeworld.language import SUBCATEGORIES, units, write_question
from silmm.stages import gallery

from .conftest import NOISE, Puppet

TESTS = exam.prompts(8)


class Painter(Puppet):
    """The first picture of a prompt is right; the second one is malformed or, of every other prompt, wrong."""

    def draw(self, prompts, keys, sampling):  # type: ignore[no-untyped-def]
        drawn = super().draw(prompts, keys, sampling)
        for i, prompt in enumerate(prompts):
            number = self.numbers[prompt]
            drawn.tokens_PNL[i, :, 0] = (number, -1 if number % 2 else NOISE)
        return drawn


def pictures(policy: Puppet, tests: Sequence[exam.EvalPrompt] = TESTS) -> list[dict]:
    return gallery.draws(policy, tests, seed=3)


def test_pictures_are_those_of_the_evaluation() -> None:
    policy = Painter(TESTS)
    pictures(policy)
    (keys, sampling), *more = policy.drawn
    assert not more and sampling.rate == 0 and sampling.noise == "free"
    assert keys[5] == [(3, "evaluate", "fresh_noise", TESTS[5].id, k) for k in range(2)]


def test_each_picture_has_answers_and_verdicts() -> None:
    for i, (test, row) in enumerate(zip(TESTS, pictures(Painter(TESTS)), strict=True)):
        claims = units(test.spec)
        assert row["questions"] == [write_question(unit) for unit in claims]
        right, other = row["pictures"]
        assert right["whole"] and not right["malformed"] and right["believed"]
        assert right["own"] == pytest.approx(0.8) and right["unasked"] == []
        assert right["answers"] == [[pytest.approx(0.9), pytest.approx(0.1), True]] * len(claims)
        assert not other["whole"] and not other["believed"] and other["malformed"] == (i % 2 == 0)
        assert [holds for *_, holds in other["answers"]] == [False] * len(claims)
        assert (right["role"], other["role"]) == ("chosen", "rejected")


def test_pictures_are_whole_png_files() -> None:
    policy = Painter(TESTS)
    row = pictures(policy)[3]
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(row["pictures"][0]["png"]))))
    assert (found == policy.render(np.array([[3]]))[0]).all()


def test_a_claim_that_nobody_asks_about_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = Painter(TESTS)
    monkeypatch.setattr(policy, "answer", lambda tokens, texts: [np.full((len(t), 2), 0.5) for t in texts])
    monkeypatch.setattr(policy, "ask", lambda prompts, max_tokens: [write_question(units(TESTS[0].spec)[0]), *[""] * 7])
    first, second, *_ = pictures(policy)
    rest = units(TESTS[0].spec)[1:]
    assert first["pictures"][0]["unasked"] == [[write_question(unit), True] for unit in rest]
    assert first["pictures"][0]["role"] == "", "even scores make no pair"
    assert second["questions"] == [] and second["pictures"][0]["own"] is None
    assert second["pictures"][0]["believed"] is None and second["pictures"][0]["role"] == ""
    assert len(second["pictures"][0]["unasked"]) == len(units(TESTS[1].spec))


@pytest.mark.parametrize("iterations", [(0,), (0, 1, 1)])
def test_two_policies_each_once(iterations: tuple[int, ...], tmp_path: Path) -> None:
    policies = [Policy("discrete", t, tmp_path) for t in iterations]
    with pytest.raises(InputError, match=r"discrete: iterations \[0.*: give at least two policies, each once"):
        gallery.run(policies=policies, seed=0, out=tmp_path / "gallery.html")


def test_a_checkpoint_of_the_other_kind_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silmm.lmm.load", lambda folder: Painter(TESTS))
    policies = [Policy("discrete", t, tmp_path) for t in (0, 1)]
    with pytest.raises(InputError, match="draws continuous images: not a checkpoint of the discrete LMM"):
        gallery.run(policies=policies, seed=0, out=tmp_path / "gallery.html")
    assert not (tmp_path / "gallery.html").exists()


def test_the_page_has_a_card_a_prompt_and_lmm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = exam.prompts(gallery.PROMPTS * len(SUBCATEGORIES))
    monkeypatch.setattr("silmm.lmm.load", lambda folder: Painter(tests))
    policies = [Policy("continuous", t, tmp_path) for t in (1, 0)]
    out = [tmp_path / f"{i}.html" for i in range(2)]
    for path in out:
        gallery.run(policies=policies, seed=0, out=path)
    text = out[0].read_text()
    assert text == out[1].read_text()
    assert text.count('"change":"same"') == len(tests) and text.count('"held":[1,1]') == len(tests)
    assert '"iterations":[0,1]' in text
    assert 4 * len(text) < 6e6, "two LMMs and four policies are more than 6 MB"
