"""What every policy of a run draws for the same held-out prompts, what it asks about its pictures, how it answers, and
what the oracle says: the data of `silmm gallery`."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from silmm.errors import InputError
from silmm.lmm.interface import VisualTokens
from silmm.lmm.sampler import DEFAULT, parse_sampler
from silmm.report import gallery as page
from silmm.report.entries import Policy
from silmm.settings import Pairs
from silmm.shapeworld import exam
from silmm.shapeworld.language import CATEGORY, SUBCATEGORIES, Spec, units, write_question
from silmm.shapeworld.oracle import judge, read
from silmm.shapeworld.questions import questions_of
from silmm.shapeworld.scene import Scene
from silmm.stages.own_score import ask
from silmm.stages.pairs import choose
from silmm.stages.pictures import tokens_of
from silmm.stages.runtime import prepare, progress
from silmm.stages.scoring import image_score
from silmm.stages.worlds import Asked, load_judged

PROMPTS = 8  # of each sub-category: the first ones, unselected. With two LMMs, four policies and two pictures: 1 MB
PICTURES = 2  # of each prompt and policy: the first two that `silmm evaluate` judges, too


def run(*, policies: Sequence[Policy], seed: int, out: Path, threads: int = 1) -> None:
    """Draw with the default sampler, ask, answer, judge, and write one HTML page.

    Raises:
        InputError: an iteration of an LMM twice, or fewer than two of them; a checkpoint of the other kind of LMM.
    """
    ordered = _ordered(policies)
    prepare(threads)
    tests = sorted(exam.prompts(PROMPTS * len(SUBCATEGORIES)), key=lambda t: SUBCATEGORIES.index(t.subcategory))
    data = page.gallery(seed, [_of_lmm(lmm, seed, tests, rows) for lmm, rows in ordered.items()])
    page.write(data, out)
    print(f"gallery: {len(tests)} prompts an LMM, {out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def _ordered(policies: Sequence[Policy]) -> dict[str, list[Policy]]:
    lmms = dict.fromkeys(p.lmm for p in policies)
    by_lmm = {lmm: sorted((p for p in policies if p.lmm == lmm), key=lambda p: p.iteration) for lmm in lmms}
    for lmm, rows in by_lmm.items():
        numbers = [p.iteration for p in rows]
        if len(rows) < 2 or len(set(numbers)) < len(rows):
            raise InputError(f"{lmm}: iterations {numbers}: give at least two policies, each once")
    return by_lmm


def _of_lmm(lmm: str, seed: int, tests: Sequence[exam.EvalPrompt], policies: Sequence[Policy]) -> dict[str, Any]:
    """The part of one LMM: a row a prompt, in it a row a policy."""
    drawn = [_load(one, lmm) for one in policies]
    columns = [draws(policy, tests, seed) for policy in progress(drawn, f"gallery {lmm}")]
    return {
        "lmm": lmm,
        "sampler": DEFAULT[drawn[0].images],
        "iterations": [p.iteration for p in policies],
        "prompts": [
            {"id": t.id, "prompt": t.prompt, "category": CATEGORY[t.subcategory], "subcategory": t.subcategory,
             "policies": list(row)}
            for t, *row in zip(tests, *columns, strict=True)
        ],
    }  # fmt: skip


def _load(one: Policy, lmm: str) -> VisualTokens:
    policy = load_judged(one.dir)
    if policy.images != lmm:
        raise InputError(f"{one.dir}: draws {policy.images} images: not a checkpoint of the {lmm} LMM")
    return policy


def draws(policy: VisualTokens, tests: Sequence[exam.EvalPrompt], seed: int) -> list[dict[str, Any]]:
    """A policy's questions and its pictures of every prompt, with the random numbers of the evaluation."""
    sampler = DEFAULT[policy.images]
    keys = [[(seed, "evaluate", sampler, t.id, k) for k in range(PICTURES)] for t in tests]
    prompts = [t.prompt for t in tests]
    drawn = policy.draw(prompts, keys, parse_sampler(sampler, policy.images))
    tokens_NL = tokens_of(drawn).reshape(len(tests) * PICTURES, -1)
    asked = ask(policy, prompts)
    texts = [[text for text, _ in rows] for rows in asked for _ in range(PICTURES)]
    answers = policy.answer(tokens_NL, texts)
    images = policy.render(tokens_NL)
    scenes = read(images)
    found = []
    for i, (test, rows) in enumerate(zip(tests, asked, strict=True)):
        mine = slice(i * PICTURES, (i + 1) * PICTURES)
        pictures = [
            _picture(*one, rows, test.spec) for one in zip(images[mine], scenes[mine], answers[mine], strict=True)
        ]
        _mark_pair(pictures)
        found.append({"questions": [text for text, _ in rows], "pictures": pictures})
    return found


def _picture(image: np.ndarray, scene: Scene | None, answers: np.ndarray, asked: Asked, spec: Spec) -> dict[str, Any]:
    """One picture: `answers` are (p_yes, p_no, what the oracle says); `unasked` are claims of the prompt that no
    question is about, with the oracle's word; `own` is None, and `believed` too, where nothing was asked."""
    records = questions_of("own", asked).questions
    known = {unit.key() for _, unit in asked}
    claims = [unit for unit in units(spec) if unit.key() not in known]
    return {
        "png": _png(image),
        "whole": all(judge(unit, scene) for unit in units(spec)),
        "malformed": scene is None,
        "own": image_score(records, answers) if asked else None,
        "believed": image_score(records, answers, "ratio") == 1.0 if asked else None,
        "answers": [
            [float(p_yes), float(p_no), judge(unit, scene)]
            for (p_yes, p_no), (_, unit) in zip(answers, asked, strict=True)
        ],
        "unasked": [[write_question(unit), judge(unit, scene)] for unit in claims],
    }


def _mark_pair(pictures: list[dict[str, Any]]) -> None:
    """Set each picture's `role`: what step 4 with its default settings would choose and reject among these."""
    scores = {k: p["own"] for k, p in enumerate(pictures) if p["own"] is not None}
    pairs, _ = choose(scores, Pairs(top_n=1))
    roles = {k: role for pair in pairs for k, role in zip(pair, ("chosen", "rejected"), strict=True)}
    for k, picture in enumerate(pictures):
        picture["role"] = roles.get(k, "")


def _png(image: np.ndarray) -> str:
    """The picture as base64 of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
