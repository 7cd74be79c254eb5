"""Step 4a: the policy answers its own questions on its own images (paper section 3.3, difference of probabilities)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from silmm import lmm as models
from silmm.records import SCORES, PromptQuestions, RecordError, read_jsonl, write_table
from silmm.settings import Score
from silmm.stages.representations import PROMPT_BLOCK, Key, read_shard
from silmm.stages.runtime import prepare, progress


def run(settings: Score, *, ckpt: Path, qa: Path, images: tuple[Path, ...], out: Path, threads: int = 1) -> None:
    """p(yes) and p(no) of each question on each image of its prompt; an image is encoded once for all questions."""
    prepare(threads)
    policy = models.load(ckpt)
    asked = {row.prompt_id: row.questions for row in read_jsonl(qa, PromptQuestions)}
    columns: dict[str, list] = {name: [] for name in SCORES.columns}
    for folder in images:
        keys, tokens = read_shard(folder)
        lost = sorted({prompt_id for prompt_id, _ in keys} - set(asked))
        if lost:
            raise RecordError(f"{qa}: no record for prompt {lost[0]} of {folder}; re-run silmm questions")
        for block in progress(blocks(keys, settings.block), "score"):
            questions = [[q.text for q in asked[prompt_id]] for prompt_id, _ in keys[block]]
            answers = policy.answer(tokens[block], questions)
            _extend(columns, keys[block], [asked[p] for p, _ in keys[block]], answers)
    write_table(out, columns, SCORES)


def blocks(keys: Sequence[Key], size: int) -> list[slice]:
    """Rows of each forward pass: at most `size`, never across the blocks of prompts that shards are made of."""
    starts = [i for i, key in enumerate(keys) if i == 0 or key[0] != keys[i - 1][0]][::PROMPT_BLOCK]
    ends = [*starts[1:], len(keys)][: len(starts)]  # an empty shard has no block
    return [
        slice(i, min(i + size, end)) for start, end in zip(starts, ends, strict=True) for i in range(start, end, size)
    ]


def _extend(columns: dict[str, list], keys: list, questions: list, answers: list[np.ndarray]) -> None:
    for (prompt_id, sample), rows, probs in zip(keys, questions, answers, strict=True):
        for question, (p_yes, p_no) in zip(rows, probs, strict=True):
            for name, value in zip(columns, (prompt_id, sample, question.id, float(p_yes), float(p_no)), strict=True):
                columns[name].append(value)
