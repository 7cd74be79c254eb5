"""The answer to `ask_instruction`, read: parts of a prompt, and a yes/no question about each."""

from __future__ import annotations

import re
from collections import Counter

from silmm.open_language.instructions import ARROW, DESCRIPTION
from silmm.schemas import PromptQuestions, Question

Asked = list[tuple[str, str]]  # question and part
LONGEST = 30  # words of a question
_LINE = re.compile(
    r"(?:[-*+•]\s+|\(?\d{1,2}[.):]\s+)?(?P<part>[^?]{1,120}?)\s*(?:->|→|=>|:)\s*(?P<question>[^?]{1,240}\?)[^?]*"
)
_VERBS = "is are was were does do did has have had can could will would should"
_YES_OR_NO = re.compile(rf"(?:{'|'.join(_VERBS.split())})\b.*\w", re.IGNORECASE)
_ARTICLES = {"a", "an", "the"}
_CONJUNCTIONS = re.compile(r"\s*[,;.]\s*(?:(?:and|or)\s+)?|\s+(?:and|or|plus|while|but)\s+", re.IGNORECASE)
_RELATIONS = (
    "in front of|on top of|(?:to|on|at) the (?:left|right|side|top|bottom) of|left of|right of|next to|close to|out of"
    "|inside|into|onto|in|on|at|under|underneath|beneath|below|above|over|behind|beside|between|near|against|around"
    "|across|along|among|through|towards?|with|without"
)
_BEFORE_RELATION = re.compile(rf"\s+((?:{_RELATIONS})\b)", re.IGNORECASE)


def split(text: str) -> tuple[Asked, Counter[str]]:
    """Well-formed, distinct questions with the parts that they ask about; what was dropped, by reason.

    A line is `part -> question`, the question one that can be answered with yes or no. A part or a question that was
    there before is a duplicate. What a model writes after its answer, another description, is not read.
    """
    dropped: Counter[str] = Counter(malformed=0, duplicate=0)
    asked: Asked = []
    seen: set[tuple[str, ...]] = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith(DESCRIPTION):
            break
        found = _LINE.fullmatch(line)
        part, question = (" ".join(text.split()) for text in found.group("part", "question")) if found else ("", "")
        if not _fit(part, question):
            dropped["malformed"] += 1
        elif {_words(part), _words(question)} & seen:
            dropped["duplicate"] += 1
        else:
            seen |= {_words(part), _words(question)}
            asked.append((question, part))
    return asked, dropped


def _fit(part: str, question: str) -> bool:
    """Whether a line is a part in words, and a question of printable characters that yes or no answers."""
    short = len(question.split()) <= LONGEST and (part + question).isprintable()
    return bool(_words(part)) and _YES_OR_NO.match(question) is not None and short


def questions_of(prompt_id: str, asked: Asked) -> PromptQuestions:
    """The record of one prompt. A question presupposes those about parts that its own part contains, word for word: one
    about the red apple is for nothing where no apple is."""
    words = [_words(part) for _, part in asked]
    rows = [
        Question(f"q{i}", text, "yes", tuple(f"q{j}" for j, inner in enumerate(words) if _contains(words[i], inner)))
        for i, (text, _) in enumerate(asked)
    ]
    return PromptQuestions(prompt_id, tuple(part for _, part in asked), tuple(rows))


def answer_of(record: PromptQuestions) -> str:
    """The text that `split` would read this record from: what the LMM should still be able to write."""
    return "\n".join(f"{part} {ARROW} {q.text}" for part, q in zip(record.units, record.questions, strict=True))


def phrases(text: str) -> list[str]:
    """A prompt cut at commas and conjunctions, and before words of place and company: `a cup`, `on a red table`.

    The paper cuts with spaCy's parser; this is a plain rule that needs none, and cuts `red and blue` in two.
    """
    lines = "\n".join(_CONJUNCTIONS.split(text.strip()))
    return [phrase for line in _BEFORE_RELATION.sub(r"\n\1", lines).splitlines() if (phrase := line.strip())]


def as_question(text: str) -> str:
    """A prompt, a phrase or what a user typed, with a question mark for its full stop or at its end."""
    return text.strip().rstrip("?.! ") + "?"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"[\w'-]+", text.lower()) if word not in _ARTICLES)


def _contains(outer: tuple[str, ...], inner: tuple[str, ...]) -> bool:
    """Whether the words of `inner` stand in `outer`, one after the other, and are not all of it."""
    n = len(inner)
    return n < len(outer) and any(outer[i : i + n] == inner for i in range(len(outer) - n + 1))
