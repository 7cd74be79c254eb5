"""What an LMM is told: to write one prompt of a sub-category (step 1), to split a prompt into questions (step 3).

The paper shows the gist of its instructions in Figure 2 and keeps the rest in an appendix that was not published with
it; the words and the examples here are ours. The adapters put them into the chat template of their model.
"""

from __future__ import annotations

from silmm import rng as keyed
from silmm.open_language.examples import ABOUT, PROMPTS, QUESTIONS

SHOWN = 4  # examples in an instruction, drawn by its key, so that drafts differ
ARROW = "->"  # between a part and its question
DESCRIPTION = "Description:"


def write_instruction(subcategory: str, key: tuple) -> str:
    """Ask for one prompt of a sub-category, after a few examples that the key draws.

    Raises ValueError for an unknown sub-category.
    """
    if subcategory not in PROMPTS:
        raise ValueError(f"sub-category {subcategory!r}: expected one of {', '.join(PROMPTS)}")
    pool = PROMPTS[subcategory]
    drawn = keyed.generator("write_instruction", subcategory, *key).choice(len(pool), SHOWN, replace=False)
    examples = "\n".join(f"{number}. {pool[i]}" for number, i in enumerate(drawn.tolist(), 1))
    return (
        "You write short descriptions of pictures for a painter: of things that can be seen, and of nothing else.\n"
        f"A description of this kind is about {ABOUT[subcategory]}. Examples:\n{examples}\n"
        "Write one new description of this kind, about other things than the examples, in plain English and in at most"
        " twenty words. Answer with the description alone."
    )


def ask_instruction(prompt: str) -> str:
    """Ask for the smallest parts of a prompt, each with a yes/no question: a line `part -> question` each."""
    shown = "\n\n".join(answered(described, parts) for described, parts in QUESTIONS)
    return (
        "Split a description of a picture into its smallest parts: every thing, every attribute, every number, every"
        " relation. Then write one question about each part that is answered with yes if the picture shows it. Avoid"
        f" pronouns. Write one line a part, in the form: part {ARROW} question\n\n{shown}\n\n"
        f"Now do the same for this description, and write nothing else.\n{DESCRIPTION} {prompt}"
    )


def answered(prompt: str, parts: tuple[tuple[str, str], ...]) -> str:
    """An example of `ask_instruction`: the prompt, and the lines of a right answer."""
    return "\n".join([f"{DESCRIPTION} {prompt}", *(f"{part} {ARROW} {question}" for part, question in parts)])
