"""What an LMM is told: examples that are right themselves, and differ from draft to draft."""

from __future__ import annotations

import itertools

import pytest

from silmm.open_language import drafts, questions
from silmm.open_language.examples import ABOUT, PROMPTS, QUESTIONS
from silmm.open_language.instructions import SHOWN, answered, ask_instruction, write_instruction
from silmm.schemas import SUBCATEGORIES


def shown(instruction: str) -> list[str]:
    """The numbered examples of a `write_instruction`."""
    lines = [line.partition(". ") for line in instruction.splitlines()]
    return [rest for number, _, rest in lines if number.isdecimal()]


def test_every_sub_category_has_examples() -> None:
    assert set(PROMPTS) == set(ABOUT) == set(SUBCATEGORIES)
    every = [prompt for pool in PROMPTS.values() for prompt in pool]
    assert len(set(every)) == len(every) >= 80


@pytest.mark.parametrize("subcategory", SUBCATEGORIES)
def test_examples_are_prompts_that_would_be_kept(subcategory: str) -> None:
    for prompt in PROMPTS[subcategory]:
        assert drafts.clean(prompt) == prompt
        assert drafts.refusal(prompt, subcategory) is None, prompt


@pytest.mark.parametrize("subcategory", SUBCATEGORIES)
def test_a_key_draws_its_examples(subcategory: str) -> None:
    keys = [(0, "prompts", 1, place, attempt) for place, attempt in itertools.product(range(8), range(2))]
    texts = [write_instruction(subcategory, key) for key in keys]
    assert texts == [write_instruction(subcategory, key) for key in keys]
    assert len(set(texts)) > len(texts) / 2
    for text in texts:
        examples = shown(text)
        assert len(set(examples)) == SHOWN and set(examples) <= set(PROMPTS[subcategory])


def test_an_unknown_sub_category_is_named() -> None:
    with pytest.raises(ValueError, match="sub-category 'colour': expected one of color, shape"):
        write_instruction("colour", ("text",))


def test_the_prompt_ends_the_question_instruction() -> None:
    text = ask_instruction("a heron on a raft")
    assert text.endswith("\nDescription: a heron on a raft")
    assert text.count("Description: ") == len(QUESTIONS) + 1


@pytest.mark.parametrize(("prompt", "parts"), QUESTIONS)
def test_the_examples_of_questions_are_read_whole(prompt: str, parts: tuple[tuple[str, str], ...]) -> None:
    assert prompt in ask_instruction("anything")
    answer = answered(prompt, parts).partition("\n")[2]
    asked, dropped = questions.split(answer)
    assert asked == [(question, part) for part, question in parts]
    assert dropped.total() == 0
    record = questions.questions_of("p0", asked)
    assert questions.answer_of(record) == answer
    assert record.questions[-1].parents  # each ends with a relation, which presupposes its things


def test_an_answer_that_goes_on_with_another_description_is_cut_there() -> None:
    (first, parts), (second, others), _ = QUESTIONS
    text = answered(first, parts).partition("\n")[2] + "\n\n" + answered(second, others)
    assert [part for _, part in questions.split(text)[0]] == [part for part, _ in parts]
