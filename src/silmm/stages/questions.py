"""Step 3: the policy splits each prompt into units and writes yes/no questions (paper section 3.3, Self-Q).

Two simpler strategies of the paper's Table 2 stand beside it: the prompt itself as the question (Prompt-Q), and each of
its phrases (Phrase-Q). They split nothing into units, so their records have none.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from silmm import lmm as models
from silmm.align.state import fingerprint
from silmm.errors import InputError
from silmm.records import Prompt, PromptQuestions, Question, QuestionStats, read_jsonl, write_json, write_jsonl
from silmm.settings import Questions, require_all
from silmm.sources import source_hash
from silmm.stages import promises, worlds
from silmm.stages.journal import close, in_blocks
from silmm.stages.runtime import prepare
from silmm.stages.worlds import World

CUTS: dict[str, Callable[[World, str], list[str]]] = {  # how a prompt is cut into questions without the policy
    "prompt": lambda world, prompt: [prompt],
    "phrase": lambda world, prompt: world.phrases(prompt),
}
require_all("questions", "strategy", ("self", *CUTS))


def plain_questions(prompt_id: str, texts: list[str], world: World) -> PromptQuestions:
    """The record of a prompt whose questions are texts as they are, each with a question mark."""
    questions = (Question(f"q{i}", world.as_question(text)) for i, text in enumerate(texts))
    return PromptQuestions(prompt_id, (), tuple(questions))


def run(
    settings: Questions,
    *,
    ckpt: Path,
    prompts: Path,
    out: Path,
    stats: Path,
    state: Path | None = None,
    threads: int = 1,
) -> None:
    """Ask; malformed and repeated questions are dropped and counted, as are prompts left without any, and those that
    stand in for their missing questions themselves (`fallback`). An interrupted run goes on with the answers in
    `state`."""
    prepare(threads)
    policy = models.load(ckpt)
    world = worlds.of(policy)
    rows = read_jsonl(prompts, Prompt)

    def ask(block: slice) -> list[str]:
        texts = [row.prompt for row in rows[block]]
        return promises.texts(policy.ask(texts, max_tokens=settings.max_tokens), len(texts), ckpt)

    dropped: Counter[str] = Counter()
    covered: float | None = 0.0
    fallback = 0
    if settings.strategy == "self":
        made_of = {**dataclasses.asdict(settings), "sources": source_hash("stages.questions", models.name_of(ckpt))}
        journal = state and state / fingerprint(made_of, [ckpt, prompts])
        texts = in_blocks(ask, len(rows), journal=journal, name="questions")
        records, dropped, covered = _own(texts, world, rows)
        if settings.fallback == "prompt":
            fallback = sum(not r.questions for r in records)
            pairs = zip(rows, records, strict=True)
            records = [r if r.questions else plain_questions(r.prompt_id, [p.prompt], world) for p, r in pairs]
    else:
        cut = CUTS[settings.strategy]
        records = [plain_questions(row.id, cut(world, row.prompt), world) for row in rows]
    n = sum(len(r.questions) for r in records)
    if not n:
        raise InputError(f"{ckpt}: not one well-formed question for {len(rows)} prompts: {world.advice}")
    without = sum(not r.questions for r in records)
    written = n - fallback + dropped.total()
    malformed = dropped["malformed"]
    share = malformed / written if written else 0.0
    counts = QuestionStats(len(rows), without, n, malformed, dropped["duplicate"], share, covered, fallback)
    write_json(stats, counts)
    write_jsonl(out, records)
    close(state)


def _own(
    texts: list[str], world: World, rows: list[Prompt]
) -> tuple[list[PromptQuestions], Counter[str], float | None]:
    """What the policy asks about each prompt, what of it was dropped, and the mean coverage, where it is known."""
    dropped: Counter[str] = Counter()
    records, shares = [], []
    for row, text in zip(rows, texts, strict=True):
        asked, lost = world.split(text)
        dropped += lost
        if world.coverage:
            shares.append(world.coverage(row.prompt, asked) or 0.0)
        records.append(world.questions_of(row.id, asked))
    return records, dropped, sum(shares) / len(shares) if shares else None
