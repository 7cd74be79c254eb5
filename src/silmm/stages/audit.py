"""What the oracle says of a policy's own answers in steps 3 and 4: a row an answer, from the files of an iteration.

Nothing is drawn or asked again: pictures are read from step 2's image folders, answers from scores.parquet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from silmm.records import (
    AUDIT,
    INDEX,
    SCORES,
    Prompt,
    PromptQuestions,
    RecordError,
    read_jsonl,
    read_table,
    write_table,
)
from silmm.shapeworld.language import Unit, parse_prompt, parse_question, units
from silmm.shapeworld.oracle import judge, read
from silmm.shapeworld.scene import SIDE, Scene
from silmm.stages.picture_file import read_pictures
from silmm.stages.representations import Key
from silmm.stages.scoring import answers_of

BLOCK = 4096  # pictures that are read at once


class Claims(NamedTuple):
    """What can be judged of a prompt: its own units, and the one that each of its questions asks about."""

    subcategory: str
    own: list[Unit]
    asked: list[Unit]


def run(*, prompts: Path, qa: Path, scores: Path, images: tuple[Path, ...], out: Path, threads: int = 1) -> None:
    """Write a row a (prompt, sample, question), see `AUDIT`; a sample of several pictures has the shares of them.

    Raises:
        RecordError: the files do not belong together, a picture is not there, or ShapeWorld's language has no such
            prompt or question, so that the oracle cannot judge it.
    """
    questions = read_jsonl(qa, PromptQuestions)
    try:
        answers = answers_of(read_table(scores, SCORES).to_pydict(), questions)
    except RecordError as error:
        raise RecordError(f"{scores}: {error}; re-run silmm score") from None
    claims = _claims(prompts, qa, questions)
    pictures = _scenes(images)
    columns: dict[str, list[Any]] = {name: [] for name in AUDIT.columns}
    for row in questions:
        asked = claims[row.prompt_id]
        for sample, given in sorted(answers.get(row.prompt_id, {}).items()):
            if (row.prompt_id, sample) not in pictures:
                raise RecordError(
                    f"{scores}: sample {sample} of prompt {row.prompt_id} is in none of the image folders; re-run silmm"
                    " score"
                )
            scenes = pictures[row.prompt_id, sample]
            held = np.array([[judge(unit, scene) for unit in asked.own] for scene in scenes])
            whole = float(held.all(1).mean())
            for question, unit, (p_yes, p_no) in zip(row.questions, asked.asked, given, strict=True):
                share = float(np.mean([judge(unit, scene) for scene in scenes]))
                line = (row.prompt_id, asked.subcategory, sample, question.id, unit.kind, question.expected, p_yes,
                        p_no, share, float(held.mean()), whole, len(scenes))  # fmt: skip
                for name, value in zip(columns, line, strict=True):
                    columns[name].append(value)
    if not columns["sample"]:
        raise RecordError(f"{scores}: no answers to audit; re-run silmm score")
    write_table(out, columns, AUDIT)


def _claims(prompts: Path, qa: Path, questions: Sequence[PromptQuestions]) -> dict[str, Claims]:
    """By prompt id; RecordError for a text that is not in ShapeWorld's language."""
    texts = {row.id: row for row in read_jsonl(prompts, Prompt)}
    found = {}
    for row in questions:
        if row.prompt_id not in texts:
            raise RecordError(f"{qa}: prompt {row.prompt_id} is not in {prompts}; re-run silmm questions")
        prompt = texts[row.prompt_id]
        spec = parse_prompt(prompt.prompt)
        if spec is None:
            raise RecordError(f"{prompts}: {row.prompt_id} is no prompt of ShapeWorld's language: {prompt.prompt!r}")
        asked = []
        for question in row.questions:
            unit = parse_question(question.text)
            if unit is None:
                raise RecordError(
                    f"{qa}: question {question.id} of prompt {row.prompt_id} is not one that the oracle can judge:"
                    f" {question.text!r}; audit an arm with questions.strategy self"
                )
            asked.append(unit)
        found[row.prompt_id] = Claims(prompt.subcategory, units(spec), asked)
    return found


def _scenes(images: Sequence[Path]) -> dict[Key, list[Scene | None]]:
    """What the oracle reads on the pictures of each sample, over all shards."""
    found: dict[Key, list[Scene | None]] = defaultdict(list)
    for folder in images:
        index = read_table(folder / "index.parquet", INDEX).to_pylist()
        for start in range(0, len(index), BLOCK):
            block = index[start : start + BLOCK]
            pixels = np.stack(read_pictures(folder, [row["file"] for row in block], (SIDE, SIDE)))
            for row, scene in zip(block, read(pixels), strict=True):
                found[row["prompt_id"], row["sample"]].append(scene)
    return dict(found)
