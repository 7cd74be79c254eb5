"""How long texts are, in tokens: counted where silmm writes them, taken as usual where an LMM does."""

from __future__ import annotations

from typing import NamedTuple

CHARACTERS = 3.5  # a token, of English; tokenizers have 4 to 5: rather too long a text than too short
PROMPT = 48  # tokens of a written prompt with what stands around it: asked for in at most twenty words
QUESTION = 24  # tokens of a question with what follows it
QUESTIONS = 6  # of a prompt, where none has been asked yet
TEMPLATE = 64  # tokens of a system prompt and of the turns' names


class Lengths(NamedTuple):
    """Tokens."""

    write: int  # of the instruction to write a prompt
    ask: int  # of the instruction to ask
    prompt: int  # of what is written
    draw: int  # of what stands before a drawn picture
    look: int  # of what stands around a picture that is looked at
    question: int
    questions: int  # a prompt


def usual(questions: int = QUESTIONS) -> Lengths:
    """Of the instructions as they are."""
    from silmm.open_language.instructions import ask_instruction, write_instruction

    write = write_instruction("complex", ("plan",))
    ask = ask_instruction(" ".join(["word"] * 20))
    written, asked = (TEMPLATE + round(len(text) / CHARACTERS) for text in (write, ask))
    return Lengths(written, asked, PROMPT, PROMPT, TEMPLATE, QUESTION, questions)
