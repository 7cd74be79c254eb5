"""Qwen-VL's answers are those that transformers alone gives, one whole conversation at a time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from silmm.benchmarks.judges import qwen_vl
from silmm.benchmarks.judges.interface import Query
from silmm.benchmarks.judges.load import load
from silmm.benchmarks.judges.qwen_vl import BRIEFLY, QwenVL
from silmm.benchmarks.judges.tiny import build
from silmm.errors import InputError

pytestmark = pytest.mark.xdist_group("judges")
QUESTIONS = ("Is there a red dog?", "How many cats are there? Answer in one word.", "cat?", "What is on the table?")
PICTURES = [
    np.random.default_rng(k).integers(0, 256, size).astype(np.uint8)
    for k, size in enumerate([(48, 64, 3), (200, 90, 3), (16, 16, 3)])
]


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(request.param, tmp_path_factory.mktemp("judges") / request.param)


@pytest.fixture(scope="module")
def judge(folder: Path) -> QwenVL:
    return load("vqa", str(folder))


@torch.no_grad()
def alone(folder: Path, picture: np.ndarray, question: str) -> tuple[torch.Tensor, str]:
    """Probabilities of the next token [V] and what `generate` writes, with nothing shared."""
    from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen2VLImageProcessorPil

    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    seen = Qwen2VLImageProcessorPil.from_pretrained(folder)(images=Image.fromarray(picture), return_tensors="pt")
    places = "<|image_pad|>" * (int(seen.image_grid_thw.prod()) // 4)
    text = f"<|im_start|>user\n<|vision_start|>{places}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer(text, return_tensors="pt").input_ids
    inputs = dict(seen) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs["mm_token_type_ids"] = (ids == model.config.image_token_id).int()
    written = model.generate(**inputs, do_sample=False, max_new_tokens=32)[0, ids.shape[1] :]
    return model(**inputs).logits[0, -1].softmax(-1), tokenizer.decode(written, skip_special_tokens=True).strip()


def test_as_transformers_alone(folder: Path, judge: QwenVL) -> None:
    asked = [[Query(text, ("no", "yes", "three"), free=True) for text in QUESTIONS]] * 2
    found = judge.answer(PICTURES[:2], asked)
    for picture, answers in zip(PICTURES[:2], found, strict=True):
        for question, answer in zip(QUESTIONS[:2], answers[:2], strict=True):
            probs, text = alone(folder, picture, question + BRIEFLY)
            wanted = []
            for forms in (["no", "No", " no", " No"], ["yes", "Yes", " yes", " Yes"]):
                ids = [judge.tokenizer.encode(form) for form in forms]
                assert {len(row) for row in ids} == {1}, "the tiny tokenizer has all of them, as the real one"
                wanted.append(sum(float(probs[row[0]]) for row in ids))
            assert answer.probs[:2] == pytest.approx(wanted, rel=1e-3)
            assert answer.text == text.rstrip(".").lower()
        (unwritten,) = judge.answer([picture], [[Query(QUESTIONS[0])]])[0]
        assert unwritten.probs[0] == pytest.approx(yes_of(judge, alone(folder, picture, QUESTIONS[0])[0]), rel=1e-3)


def yes_of(judge: QwenVL, probs: torch.Tensor) -> float:
    return sum(float(probs[judge.tokenizer.encode(form)[0]]) for form in ("yes", "Yes", " yes", " Yes"))


def test_digits_count_by_their_first_token(judge: QwenVL) -> None:
    """ " 3" begins with a token for the space, as Qwen's does, and GenEval 2 counts that."""
    space, three = judge.tokenizer.encode(" 3")
    assert judge._variants("3") == sorted([space, three])
    assert len(judge._variants("three")) == 4
    with pytest.raises(InputError, match="has no token for it"):
        judge.answer(PICTURES[:1], [[Query("a cat?", ("",))]])


def test_whole_spellings_leave_the_lone_space_out(judge: QwenVL) -> None:
    (three,) = judge.tokenizer.encode("3")
    assert judge._variants("3", whole=True) == [three]
    assert judge._variants("three", whole=True) == judge._variants("three")
    text = QUESTIONS[1]
    asked = [Query(text, ("three", "3")), Query(text, ("three", "3"), whole=True)]
    ((first, whole),) = judge.answer(PICTURES[:1], [asked])
    assert first.probs[0] == pytest.approx(whole.probs[0]) and first.probs[1] > whole.probs[1] > 0
    with pytest.raises(InputError, match="no token that is the whole of it"):
        judge.answer(PICTURES[:1], [[Query(text, ("33",), whole=True)]])


def test_what_else_is_asked_changes_nothing(judge: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [[Query(text, free=k % 2 == 0) for k, text in enumerate(QUESTIONS)], [Query(QUESTIONS[1])], []]
    together = judge.answer(PICTURES, asked)
    one_by_one = [
        [judge.answer([picture], [[query]])[0][0] for query in row]
        for picture, row in zip(PICTURES, asked, strict=True)
    ]
    monkeypatch.setattr(qwen_vl, "QUESTIONS", 1)
    for other in (one_by_one, judge.answer(PICTURES, asked)):
        for row, others in zip(together, other, strict=True):
            for answer, same in zip(row, others, strict=True):
                assert answer.probs == pytest.approx(same.probs, rel=1e-4) and answer.text == same.text
    assert len({answer.probs for answer in together[0]}) == len(QUESTIONS), "questions count"
    assert together[0][1].probs != pytest.approx(together[1][0].probs, rel=1e-2), "pictures count"


def test_a_picture_is_read_once(judge: QwenVL) -> None:
    pictures: list[int] = []
    hook = judge.model.model.visual.register_forward_pre_hook(lambda *_: pictures.append(1))
    judge.answer(PICTURES, [[Query(text) for text in QUESTIONS]] * 3)
    hook.remove()
    assert len(pictures) == len(PICTURES)


def test_a_question_cannot_bring_a_picture(judge: QwenVL) -> None:
    with pytest.raises(InputError, match="holds tokens that mean a picture"):
        judge.answer(PICTURES[:1], [[Query("what is <|image_pad|>?")]])


def test_an_older_folder_has_its_template_in_json(folder: Path, tmp_path: Path, judge: QwenVL) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    template = (copy / "chat_template.jinja").read_text()
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load("vqa", str(copy))
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert load("vqa", str(copy)).template == judge.template


def test_the_card_says_which_judge(judge: QwenVL) -> None:
    assert judge.card.model in ("qwen2.5-vl", "qwen3-vl") and judge.card.resolution == "1024 to 4096 pixels"
