"""T2I-CompBench++'s attributes, actions and complex prompts by hand, with parses by hand in spaCy's own documents."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.benchmarks.interface import Item, Row
from silmm.benchmarks.judges.interface import Answer, Box, Card, Judges, Query
from silmm.benchmarks.judges.mask2former import THRESHOLDS
from silmm.benchmarks.t2i_compbench import seeing, words
from silmm.benchmarks.t2i_compbench.benchmark import BENCHMARK
from silmm.benchmarks.t2i_compbench.prompts import ACTION, BOTH, SPATIAL
from silmm.benchmarks.t2i_compbench.words import Word, Words, words_of
from silmm.errors import InputError

ONE = np.zeros((8, 8, 3), np.uint8)


def parsed(chunks: str, *tagged: str) -> Words:
    """Words of "cat/NOUN" each, and noun chunks divided by commas."""
    pairs = [one.split("/") for one in tagged]
    return Words(tuple(Word(text, text.lower(), pos) for text, pos in pairs), tuple(filter(None, chunks.split(", "))))


KNOWN = {
    "a green bench and a blue bowl": parsed("a green bench, a blue bowl", "a/DET", "green/ADJ", "bench/NOUN"),
    "singing": parsed("", "singing/VERB"),
    "nine": parsed(", ".join(f"thing {i}" for i in range(9)), "nine/NUM"),
    "a cat on the left of the top": parsed("a cat, the left, the top, top", "a/DET", "cat/NOUN"),
    "the red hat sat near the black cat": parsed(
        "the red hat, the black cat",
        *["the/DET", "red/ADJ", "hat/NOUN", "sat/VERB", "near/ADP", "the/DET", "black/ADJ", "cat/NOUN"],
    ),
}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeing, "read_words", lambda prompts: {prompt: KNOWN[prompt] for prompt in prompts})


class Fake:
    """Judges of all roles with fixed answers; what they were asked is kept."""

    card = Card("vqa", "fake", "fake", "0", "any")

    def __init__(self, probs: Sequence[tuple[float, float]] = ((0.6, 0.2),), cosine: float = 0.3) -> None:
        self.probs, self.cosine, self.asked = probs, cosine, []  # type: ignore[var-annotated]

    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        self.asked += [query.text for own in asked for query in own]
        return [[Answer(self.probs[k % len(self.probs)], "yes") for k in range(len(own))] for own in asked]

    def compare(self, pictures: Sequence[np.ndarray], texts: Sequence[Sequence[str]]) -> list[np.ndarray]:
        self.asked += [text for own in texts for text in own]
        return [np.full(len(own), self.cosine, np.float32) for own in texts]

    thresholds = THRESHOLDS

    def detect(self, pictures: Sequence[np.ndarray], labels: Sequence[Sequence[str]], least: float) -> list[list[Box]]:
        self.asked += [label for own in labels for label in own]
        return [[] for _ in pictures]


def judged(item: Item, fake: Fake) -> tuple[list[Row], dict[str, float]]:
    """Rows and scores of one picture of one prompt, by variant."""
    seen = BENCHMARK.look(Judges(fake, fake, fake, None, None), [ONE], [item])  # type: ignore[arg-type]
    rows = BENCHMARK.rows([item], [json.loads(json.dumps(seen))])
    return rows, {tally.variant: tally.total / tally.weight for tally in BENCHMARK.tallies([item], rows)}


def test_phrases_are_asked_about_and_multiplied() -> None:
    fake = Fake([(0.6, 0.2), (0.1, 0.2)])
    rows, scores = judged(Item("color-000", "a green bench and a blue bowl", "color", (42,)), fake)
    assert fake.asked == ["a green bench?", "a blue bowl?"]
    # 0.6 / 0.8 = 0.75; 0.1 / 0.3 = 0.3333 to four digits; 0.75 x 0.3333 = 0.249975, to four digits 0.2500
    assert [row.official for row in rows] == [0.75, 0.3333]
    assert scores["official"] == 0.25
    assert scores["corrected"] == pytest.approx(0.75 / 3)
    assert [row.answer for row in rows] == ["yes", "no"]


def test_a_prompt_without_phrases_scores_one_officially() -> None:
    fake = Fake([(0.1, 0.3)])
    rows, scores = judged(Item("color-000", "singing", "color", (42,)), fake)
    assert fake.asked == ["singing?"]
    assert math.isnan(rows[0].official)
    assert scores == {"official": 1.0, "corrected": pytest.approx(0.25)}


def test_the_ninth_phrase_does_not_count_officially() -> None:
    rows, scores = judged(Item("color-000", "nine", "color", (42,)), Fake([(0.5, 0.5)]))
    assert len(rows) == 9
    assert scores == {"official": 0.0039, "corrected": 0.5**9}  # 0.5 ** 8 = 0.00390625


def test_places_are_no_objects() -> None:
    fake = Fake()
    judged(Item("color-000", "a cat on the left of the top", "color", (42,)), fake)
    assert fake.asked == ["a cat?", "the top?"]  # officially only "top" without its article is left out


def test_no_probability_at_all_is_a_no() -> None:
    _, scores = judged(Item("color-000", "singing", "color", (42,)), Fake([(0.0, 0.0)]))
    assert scores["corrected"] == 0.0


def test_actions_are_the_cosine() -> None:
    fake = Fake(cosine=0.25)
    rows, scores = judged(Item("non_spatial-000", "A person walks.", "non_spatial", (42,)), fake)
    assert fake.asked == ["A person walks."]
    assert scores == {"official": 0.25, "corrected": 0.25}
    assert rows[0].question == "A person walks."


@pytest.mark.parametrize(
    ("part", "mean"),
    [
        (ACTION, lambda phrases, boxes, text: (phrases + text) / 2),
        (SPATIAL, lambda phrases, boxes, text: (phrases + boxes) / 2),
        (BOTH, lambda phrases, boxes, text: (phrases + boxes + text) / 3),
    ],
)
def test_a_complex_prompt_is_the_mean_of_what_it_has(part: str, mean: Callable[..., float]) -> None:
    fake = Fake(cosine=0.5)
    item = Item("complex-000", "the red hat sat near the black cat", "complex", (42,), part)
    _, scores = judged(item, fake)
    assert scores["official"] == pytest.approx(mean(0.75 * 0.75, 0.0, 0.5), abs=1e-4)  # nothing was detected
    assert ("the hat sat near the cat" in fake.asked) == (part != SPATIAL)  # adjectives are left out
    assert ("hat" in fake.asked) == (part != ACTION)


def test_official_files(tmp_path: Path) -> None:
    items = [
        Item("color-000", "singing", "color", (42, 43)),
        Item("complex-000", "the red hat sat near the black cat", "complex", (42,), ACTION),
    ]
    fake = Fake([(0.1, 0.3)], cosine=0.5)
    seen = BENCHMARK.look(Judges(fake, fake, fake, None, None), [ONE] * 3, [items[0], items[0], items[1]])  # type: ignore[arg-type]
    rows = BENCHMARK.rows(items, [seen[:2], seen[2:]])
    assert BENCHMARK.write_official is not None
    BENCHMARK.write_official(tmp_path, items, rows)

    def answers(name: str) -> list[dict[str, Any]]:
        return json.loads((tmp_path / name / "vqa_result.json").read_text())

    one = [{"question_id": i, "answer": "1.0000"} for i in range(2)]
    assert answers("color/annotation_blip") == one
    assert (tmp_path / "color/annotation_blip/blip_vqa_score.txt").read_text() == "BLIP-VQA score:1.0"
    assert answers("complex/annotation_blip") == [{"question_id": 0, "answer": "0.0625"}]
    assert answers("complex/annotation_clip") == [{"question_id": 0, "answer": 0.5}]
    assert answers("complex/annotation_3_in_1") == [{"question_id": 0, "answer": 0.28125}]
    assert not (tmp_path / "complex/labels").exists()


def test_spacy_s_documents_are_read() -> None:
    spacy = pytest.importorskip("spacy")
    doc = spacy.tokens.Doc(
        spacy.blank("en").vocab,
        words=["A", "green", "bench", "and", "a", "bowl", "stand"],
        pos=["DET", "ADJ", "NOUN", "CCONJ", "DET", "NOUN", "VERB"],
        lemmas=["a", "green", "bench", "and", "a", "bowl", "stand"],
        deps=["det", "amod", "nsubj", "cc", "det", "conj", "ROOT"],
        heads=[2, 2, 6, 2, 5, 2, 6],
    )
    read = words_of(doc)
    assert read.chunks == ("A green bench", "a bowl")
    assert read.words[1] == Word("green", "green", "ADJ")


def test_without_spacy_or_its_model_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    words._pipeline.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(InputError, match=r"pip install 'silmm.judges.', then python -m spacy download en_core"):
        words.parser()
    monkeypatch.undo()
    spacy = pytest.importorskip("spacy")

    def none(name: str) -> None:
        raise OSError(f"[E050] Can't find model '{name}'")

    monkeypatch.setattr(spacy, "load", none)
    with pytest.raises(InputError, match="run python -m spacy download en_core_web_sm"):
        words.read_words(["a cat"])
    words._pipeline.cache_clear()
