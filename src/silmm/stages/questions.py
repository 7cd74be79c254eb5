"""Step 3: the policy splits each prompt into units and writes yes/no questions (paper section 3.3, Self-Q).

Two simpler strategies of the paper's Table 2 stand beside it: the prompt itself as the question (Prompt-Q), and each of
its phrases (Phrase-Q). They split nothing into units, so their records have none.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from silmm import lmm as models
from silmm.errors import InputError
from silmm.records import Prompt, PromptQuestions, Question, QuestionStats, read_jsonl, write_json, write_jsonl
from silmm.settings import Questions
from silmm.shapeworld.language import Unit, parse_prompt, parse_question, phrases, units
from silmm.stages.runtime import prepare


def split(text: str) -> tuple[list[tuple[str, Unit]], Counter[str]]:
    """Well-formed, distinct questions of a decoded text with the units they ask about; what was dropped, by reason."""
    dropped: Counter[str] = Counter(malformed=0, duplicate=0)
    kept: dict[str, tuple[str, Unit]] = {}
    pieces = text.split("?")
    for piece in [*(f"{p.strip()} ?" for p in pieces[:-1]), *([pieces[-1].strip()] if pieces[-1].strip() else [])]:
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


def plain_questions(prompt_id: str, texts: list[str]) -> PromptQuestions:
    """The record of a prompt whose questions are texts as they are, each followed by a question mark."""
    return PromptQuestions(prompt_id, (), tuple(Question(f"q{i}", f"{text} ?") for i, text in enumerate(texts)))


def coverage(prompt: str, asked: list[tuple[str, Unit]]) -> float | None:
    """Share of the prompt's units that a question asks about; None for a prompt outside ShapeWorld's language."""
    spec = parse_prompt(prompt)
    if spec is None:
        return None
    have = {unit.key() for _, unit in asked}
    wanted = [unit.key() for unit in units(spec)]
    return sum(key in have for key in wanted) / len(wanted)


def run(settings: Questions, *, ckpt: Path, prompts: Path, out: Path, stats: Path, threads: int = 1) -> None:
    """Ask; malformed and repeated questions are dropped and counted, as are prompts left without any."""
    prepare(threads)
    policy = models.load(ckpt)
    rows = read_jsonl(prompts, Prompt)
    dropped: Counter[str] = Counter()
    records, shares = [], []
    if settings.strategy == "self":
        texts = policy.ask([p.prompt for p in rows], max_tokens=settings.max_tokens)
        for row, text in zip(rows, texts, strict=True):
            asked, lost = split(text)
            dropped += lost
            shares.append(coverage(row.prompt, asked) or 0.0)
            records.append(questions_of(row.id, asked))
    else:
        cut = phrases if settings.strategy == "phrase" else lambda prompt: [prompt]
        records = [plain_questions(row.id, cut(row.prompt)) for row in rows]
    n = sum(len(r.questions) for r in records)
    if not n:
        raise InputError(f"{ckpt}: not one well-formed question for {len(rows)} prompts: train the base longer")
    without = sum(not r.questions for r in records)
    total = n + sum(dropped.values())
    covered = sum(shares) / len(shares) if shares else 0.0
    malformed = dropped["malformed"]
    counts = QuestionStats(len(rows), without, n, malformed, dropped["duplicate"], malformed / total, covered)
    write_json(stats, counts)
    write_jsonl(out, records)
