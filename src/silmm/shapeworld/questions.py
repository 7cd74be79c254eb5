"""A decoded text as the questions of ShapeWorld's language, the units that they ask about, and what they leave out."""

from __future__ import annotations

from collections import Counter

from silmm.schemas import PromptQuestions, Question
from silmm.shapeworld.language import Unit, parse_prompt, parse_question, units


def split(text: str) -> tuple[list[tuple[str, Unit]], Counter[str]]:
    """Well-formed, distinct questions of a decoded text with the units they ask about; what was dropped, by reason."""
    dropped: Counter[str] = Counter(malformed=0, duplicate=0)
    kept: dict[str, tuple[str, Unit]] = {}
    pieces = text.split("?")
    asked = [f"{' '.join(piece.split())} ?" for piece in pieces[:-1]]
    rest = " ".join(pieces[-1].split())
    for piece in [*asked, *([rest] if rest else [])]:
        unit = parse_question(piece)
        if unit is None:
            dropped["malformed"] += 1
        elif unit.key() in kept:
            dropped["duplicate"] += 1
        else:
            kept[unit.key()] = (piece, unit)
    return list(kept.values()), dropped


def questions_of(prompt_id: str, asked: list[tuple[str, Unit]]) -> PromptQuestions:
    """The record of one prompt; a relation's parents are the questions after the things that it relates."""
    exist = {unit.a: f"q{i}" for i, (_, unit) in enumerate(asked) if unit.kind in ("exist", "count")}
    rows = [
        Question(
            f"q{i}", text, "yes", tuple(exist[t] for t in (unit.a, unit.b) if unit.kind == "relation" and t in exist)
        )
        for i, (text, unit) in enumerate(asked)
    ]
    return PromptQuestions(prompt_id, tuple(unit.key() for _, unit in asked), tuple(rows))


def coverage(prompt: str, asked: list[tuple[str, Unit]]) -> float | None:
    """Share of the prompt's units that a question asks about; None for a prompt outside ShapeWorld's language."""
    spec = parse_prompt(prompt)
    if spec is None:
        return None
    have = {unit.key() for _, unit in asked}
    wanted = [unit.key() for unit in units(spec)]
    return sum(key in have for key in wanted) / len(wanted)
