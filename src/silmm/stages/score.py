"""Step 4a: the policy answers its own questions on its own images (paper section 3.3, difference of probabilities)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from silmm import lmm as models
from silmm.records import SCORES, PromptQuestions, RecordError, read_jsonl, write_table
from silmm.settings import Score
from silmm.stages import promises, worlds
from silmm.stages.pictures import looking_at
from silmm.stages.representations import Picture
from silmm.stages.runtime import prepare, progress


def run(settings: Score, *, ckpt: Path, qa: Path, images: tuple[Path, ...], out: Path, threads: int = 1) -> None:
    """p(yes) and p(no) of each question on each sample of its prompt: the means over its pictures, where decoder noise
    makes several of it. A picture is encoded once for all questions."""
    prepare(threads)
    policy = models.load(ckpt)
    asked = {row.prompt_id: row.questions for row in read_jsonl(qa, PromptQuestions)}
    columns: dict[str, list] = {name: [] for name in SCORES.columns}
    for folder in images:
        pictures, look = looking_at(policy, folder)
        lost = sorted({prompt_id for prompt_id, *_ in pictures} - set(asked))
        if lost:
            raise RecordError(f"{qa}: no record for prompt {lost[0]} of {folder}; re-run silmm questions")
        answers: list[np.ndarray] = []
        for block in progress(blocks(pictures, settings.block, worlds.of(policy).block), "score"):
            questions = [[q.text for q in asked[prompt_id]] for prompt_id, *_ in pictures[block]]
            answers += promises.probabilities(look(block, questions), questions, ckpt)
        for (prompt_id, sample), rows in groupby(zip(pictures, answers, strict=True), key=lambda row: row[0][:2]):
            probs = np.mean([probs for _, probs in rows], 0)
            for question, (p_yes, p_no) in zip(asked[prompt_id], probs, strict=True):
                row = (prompt_id, sample, question.id, float(p_yes), float(p_no))
                for name, value in zip(columns, row, strict=True):
                    columns[name].append(value)
    if not columns["sample"]:
        print(f"score: {qa} has no question about these images: nothing to score", file=sys.stderr)
    write_table(out, columns, SCORES)


def blocks(pictures: Sequence[Picture], size: int, prompts: int) -> list[slice]:
    """Rows of each forward pass: at most `size`, never across blocks of `prompts` prompts."""
    starts = [i for i, row in enumerate(pictures) if i == 0 or row[0] != pictures[i - 1][0]][::prompts]
    ends = [*starts[1:], len(pictures)][: len(starts)]  # an empty shard has no block
    return [
        slice(i, min(i + size, end)) for start, end in zip(starts, ends, strict=True) for i in range(start, end, size)
    ]
