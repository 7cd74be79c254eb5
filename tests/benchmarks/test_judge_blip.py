"""BLIP's answers are those that transformers alone gives, one question on one picture at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.benchmarks.judges import blip_vqa
from silmm.benchmarks.judges.blip_vqa import BlipVQA, plain
from silmm.benchmarks.judges.interface import Query
from silmm.benchmarks.judges.load import load
from silmm.benchmarks.judges.sources import Source
from silmm.benchmarks.judges.tiny import build
from silmm.errors import InputError

pytestmark = pytest.mark.xdist_group("judges")
QUESTIONS = ("a red bowl?", "How many cats?", "is there a dog?", "two green birds on the left of a clock?")
PICTURES = [
    np.random.default_rng(k).integers(0, 256, size).astype(np.uint8)
    for k, size in enumerate([(48, 64, 3), (500, 480, 3), (16, 16, 3)])
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("blip", tmp_path_factory.mktemp("judges") / "blip")


@pytest.fixture(scope="module")
def judge(folder: Path) -> BlipVQA:
    return load("vqa", str(folder))


@torch.no_grad()
def alone(folder: Path, picture: np.ndarray, question: str) -> tuple[torch.Tensor, str]:
    """Probabilities of the first token [V] and the greedy answer, with nothing shared."""
    from transformers import AutoTokenizer, BlipForQuestionAnswering, BlipImageProcessorPil

    model = BlipForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = BlipImageProcessorPil.from_pretrained(folder, size={"height": 480, "width": 480})
    pixels = processor(images=Image.fromarray(picture), return_tensors="pt").pixel_values
    ids = tokenizer(question, return_tensors="pt").input_ids
    ids[0, 0] = model.config.text_config.vocab_size - 1
    start = torch.tensor([[model.config.text_config.bos_token_id]])
    looks: dict[str, Any] = {"pixel_values": pixels, "interpolate_pos_encoding": True}
    feats = model.vision_model(**looks).last_hidden_state
    states = model.text_encoder(input_ids=ids, encoder_hidden_states=feats).last_hidden_state
    logits = model.text_decoder(input_ids=start, encoder_hidden_states=states).logits[0, 0]
    written = model.generate(input_ids=ids, **looks, max_length=10)[0]
    return logits.softmax(-1), tokenizer.decode(written[1:], skip_special_tokens=True).strip()


def test_as_transformers_alone(folder: Path, judge: BlipVQA) -> None:
    asked = [[Query(text, choices=("no", "yes", "two"), free=True) for text in QUESTIONS]] * 2
    found = judge.answer(PICTURES[:2], asked)
    for picture, answers in zip(PICTURES[:2], found, strict=True):
        for question, answer in zip(QUESTIONS, answers, strict=True):
            probs, text = alone(folder, picture, question.lower())
            ids = judge.tokenizer.convert_tokens_to_ids(["no", "yes", "two"])
            assert answer.probs == pytest.approx([float(probs[i]) for i in ids], rel=1e-4)
            assert answer.text == text


def test_probabilities_are_of_the_whole_vocabulary(judge: BlipVQA) -> None:
    words = tuple(word for word in judge.tokenizer.get_vocab() if word.isalpha())
    ((answer,),) = judge.answer(PICTURES[:1], [[Query("a cat?", words)]])
    assert 0 < sum(answer.probs) < 1 and answer.text == words[int(np.argmax(answer.probs))]


def test_what_else_is_asked_changes_nothing(judge: BlipVQA, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [[Query(text, free=True) for text in QUESTIONS], [Query(QUESTIONS[1])], []]
    together = judge.answer(PICTURES, asked)
    one_by_one = [
        [judge.answer([picture], [[q]])[0][0] for q in row] for picture, row in zip(PICTURES, asked, strict=True)
    ]
    monkeypatch.setattr(blip_vqa, "QUESTIONS", 1)
    monkeypatch.setattr(blip_vqa, "PICTURES", 1)
    for other in (one_by_one, judge.answer(PICTURES, asked)):
        for row, others in zip(together, other, strict=True):
            for answer, same in zip(row, others, strict=True):
                assert answer.probs == pytest.approx(same.probs, rel=1e-5) and answer.text == same.text
    assert len({answer.probs for answer in together[0]}) == len(QUESTIONS), "questions count"
    assert together[0][1].probs != pytest.approx(together[1][0].probs, rel=1e-2), "pictures count"


def test_a_picture_is_encoded_once(judge: BlipVQA, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    count: Callable[..., None] = lambda module, args, kwargs: rows.append(len(kwargs["pixel_values"]))  # noqa: E731
    hook = judge.model.vision_model.register_forward_pre_hook(count, with_kwargs=True)
    judge.answer(PICTURES, [[Query(text) for text in QUESTIONS]] * 3)
    hook.remove()
    assert sum(rows) == len(PICTURES)


@pytest.mark.parametrize(
    ("question", "read"),
    [
        ("A blue bowl?", "a blue bowl?"),
        ('the "big" dog, (left).', "the big dog, left"),
        (" ".join(["dog"] * 60), " ".join(["dog"] * 50)),
    ],
)
def test_questions_are_read_as_blip_does(question: str, read: str) -> None:
    assert plain(question) == read


def test_an_empty_choice_is_refused(judge: BlipVQA) -> None:
    with pytest.raises(InputError, match="has no token for it"):
        judge.answer(PICTURES[:1], [[Query("a cat?", ("",))]])


def test_a_whole_spelling_is_one_token(judge: BlipVQA) -> None:
    ((first, whole),) = judge.answer(PICTURES[:1], [[Query("how many?", ("two",), whole=w) for w in (False, True)]])
    assert first.probs == whole.probs
    with pytest.raises(InputError, match="no token that is the whole of it"):
        judge.answer(PICTURES[:1], [[Query("how many?", ("zebra",), whole=True)]])


def test_the_card_says_which_judge(judge: BlipVQA, folder: Path) -> None:
    assert judge.card[:3] == ("vqa", "blip-vqa", "blip") and judge.card.resolution == "480x480"
    assert judge.card.revision.startswith("sha256:") and str(folder.parent) not in str(judge.card)


def test_heads_that_transformers_assumes_are_refused(tmp_path: Path) -> None:
    from transformers import BlipTextConfig

    source = Source(tmp_path, "owner/blip", "main")
    blip_vqa._check_heads(source, BlipTextConfig(num_attention_heads=12))
    with pytest.raises(InputError, match="num_attention_heads is 8: BLIP has 12 heads at this width"):
        blip_vqa._check_heads(source, BlipTextConfig())
