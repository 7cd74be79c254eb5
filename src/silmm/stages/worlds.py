"""What the stages do otherwise for an LMM of ShapeWorld than for one of the open world, which speaks plain English and
draws any picture: one small table of functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import LMM, VisualTokens
from silmm.open_language import drafts
from silmm.open_language import questions as plain
from silmm.schemas import PromptQuestions
from silmm.shapeworld import exam, language
from silmm.shapeworld import questions as shapes

Asked = list[tuple[str, Any]]  # question of a prompt, and the unit that it asks about, as the world names it


class World(NamedTuple):
    """Functions of texts: of what an LMM writes, and of what a user types."""

    block: int  # prompts that are drawn together: a shard is whole blocks, so that sharding does not change the work
    reasons: tuple[str, ...]  # why a draft may be refused
    advice: str  # what to do where none is kept
    clean: Callable[[str], str]  # the prompt in a draft
    typed: Callable[[str], str]  # the prompt in what a user typed
    known: Callable[[str], Asked]  # questions about a prompt that no LMM of the world learned to ask about
    refusal: Callable[[str, str], str | None]  # of a prompt and its sub-category: why it cannot be used
    split: Callable[[str], tuple[Asked, Counter[str]]]  # an answer's questions, and what was dropped by reason
    questions_of: Callable[[str, Asked], PromptQuestions]  # the record of the prompt with this id
    answer_of: Callable[[PromptQuestions], str]  # the answer that a record was read from
    as_question: Callable[[str], str]  # any text with its question mark
    phrases: Callable[[str], list[str]]
    question_tokens: int  # longest answer with questions, where no setting says
    coverage: Callable[[str, Asked], float | None] | None  # share of a prompt's units that are asked about, if known
    by_pixels: bool  # a drawn picture is looked at as everyone sees it; else as the visual tokens that it was drawn as


def of(lmm: LMM) -> World:
    """The world of an LMM."""
    return WORLDS[lmm.world]


def load_judged(folder: Path) -> VisualTokens:
    """The LMM of a checkpoint folder, for the oracle to judge. Raises InputError for one that is not of ShapeWorld."""
    lmm = models.load(folder)
    if lmm.world != "shapeworld":
        raise InputError(
            f"{folder}: an LMM of the {lmm.world} world, which ShapeWorld's oracle cannot judge:"
            " give the checkpoint of a ShapeWorld LMM"
        )
    assert isinstance(lmm, VisualTokens)
    return lmm


def _typed_shapeworld(text: str) -> str:
    text = " ".join(text.lower().rstrip(".").split())
    thing = language.parse_single(text)
    return f"a {thing.words()}" if thing else text


def _about_one_thing(text: str) -> Asked:
    """Whether it is there. Its number is not asked: pictures with one thing were rare, and answers are wrong."""
    thing = language.parse_single(text)
    unit = language.Unit("exist", thing)
    return [(language.write_question(unit), unit)] if thing else []


def _shapeworld_question(text: str) -> str:
    text = text.lower().strip()
    return text if text.endswith(" ?") else text.rstrip("?").rstrip() + " ?"


def _shapeworld_answer(record: PromptQuestions) -> str:
    return " ".join(q.text for q in record.questions)


def _typed(text: str) -> str:
    return " ".join(text.split())


WORLDS = {
    "shapeworld": World(
        block=64,
        reasons=("invalid", "off_category", "held_out"),
        advice="train the base longer",
        clean=_typed,
        typed=_typed_shapeworld,
        known=_about_one_thing,
        refusal=exam.refusal,
        split=shapes.split,
        questions_of=shapes.questions_of,
        answer_of=_shapeworld_answer,
        as_question=_shapeworld_question,
        phrases=language.phrases,
        question_tokens=80,
        coverage=shapes.coverage,
        by_pixels=False,
    ),
    "open": World(
        block=8,  # 30 pictures each take an Emu3 an hour: this much is lost when a job is killed
        reasons=drafts.REASONS,
        advice="a larger or better instructed model may do better",
        clean=drafts.clean,
        typed=_typed,
        known=lambda text: [],
        refusal=drafts.refusal,
        split=plain.split,
        questions_of=plain.questions_of,
        answer_of=plain.answer_of,
        as_question=plain.as_question,
        phrases=plain.phrases,
        question_tokens=400,
        coverage=None,
        by_pixels=True,  # making pixels of tokens a second time takes longer than looking at them
    ),
}
