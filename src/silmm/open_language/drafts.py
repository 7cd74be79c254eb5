"""Drafts of prompts in plain English: what the prompt is in a model's answer, and why one cannot be used.

What a prompt means is not checked, only its form and, where a few words tell, its sub-category.
"""

from __future__ import annotations

import re

from silmm.schemas import LONGEST_PROMPT

REASONS = ("empty", "too_short", "too_long", "not_words", "repetitive", "off_category")
FEWEST, MOST = 3, 40  # words
_MARKDOWN = re.compile(r"[*`#]|__")
_NUMBERING = re.compile(
    r"^(?:[-+•>]\s|\(?\d{1,2}[.):]\s|(?:new )?(?:description|prompt|caption|answer) ?:)", re.IGNORECASE
)
_QUOTES = ('""', "''", "“”", "‘’")
_LETTER = "[A-Za-zÀ-ÖØ-öø-ÿ0-9]"
_WORD = re.compile(rf"{_LETTER}{{1,20}}(?:['’-]+{_LETTER}{{1,20}})*")
_PUNCTUATION = ".,;:!?()\"'“”‘’-–—"
_COLORS = (
    "amber aqua azure beige black blonde blue bronze brown burgundy charcoal coral cream crimson cyan emerald gold"
    " golden gray green grey indigo ivory khaki lavender lilac lime magenta maroon mauve mustard navy olive orange"
    " peach pink purple red rose ruby rust scarlet silver tan teal turquoise violet white yellow"
)
_2D = (
    "left|right|above|below|beneath|under|underneath|over|next to|beside|near|adjacent|alongside|on top of|atop"
    "|at the (?:top|bottom)|on the (?:top|bottom|side)"
)
# Words of which a prompt of the sub-category has one; the others cannot be told by single words.
_SIGNS = {
    "color": "|".join(_COLORS.split()),
    "spatial_2d": _2D,
    "spatial_3d": "in front of|behind|hidden by|hiding|in the (?:foreground|background)|obscured|farther|closer",
    "numeracy": r"one|two|three|four|five|six|seven|eight|nine|ten|[1-9]|10|pair|dozen",
}
_OF = {name: re.compile(rf"\b(?:{words})\b", re.IGNORECASE) for name, words in _SIGNS.items()}


def clean(text: str) -> str:
    """The prompt in a model's answer: its first line that says something, without numbering, label, quotes, markdown.

    A line that ends in a colon only announces the next one. Empty where there is no such line.
    """
    lines = [line for line in map(_bare, text.splitlines()) if line]
    return next((line for line in lines if not line.endswith(":")), "")


def _bare(line: str) -> str:
    """A line without what stands around its words, however deep."""
    line, before = " ".join(_MARKDOWN.sub("", line).split()), None
    while line != before:
        before = line
        line = _NUMBERING.sub("", line).strip()
        if line[:1] + line[-1:] in _QUOTES and len(line) > 1:
            line = line[1:-1].strip()
    return line


def refusal(text: str, subcategory: str) -> str | None:
    """Why a prompt, as `clean` gives it, cannot be used (one of REASONS), or None."""
    words = [bare for word in text.split() if (bare := word.strip(_PUNCTUATION))]
    if not words:
        return "empty"
    if not text.isprintable() or not all(map(_WORD.fullmatch, words)):
        return "not_words"
    if len(words) < FEWEST:
        return "too_short"
    if len(words) > MOST or len(text) > LONGEST_PROMPT:
        return "too_long"
    if len({word.lower() for word in words}) < 0.5 * len(words):
        return "repetitive"
    sign = _OF.get(subcategory)
    return "off_category" if sign and not sign.search(text) else None
