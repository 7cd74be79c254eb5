"""What a run makes: jobs and items of every stage, each file counted once, in the arm that makes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from silmm.arms import Plan

LOOP = ("prompts", "images", "questions", "score", "pairs", "align")
UNITS = {
    "prompts": "prompts", "images": "images", "questions": "prompts asked about", "score": "answers",
    "pairs": "pairs, at most", "align": "training steps, at most",
}  # fmt: skip
SHARDED = ("images", "score")


class Work(NamedTuple):
    """Of one stage."""

    stage: str
    jobs: int
    items: int
    unit: str


def work(plan: Plan, questions: int) -> list[Work]:
    """The stages of the loop, in order. `questions`: of a prompt."""
    made = list(_made(plan))
    rows = []
    for stage in LOOP:
        settings = [plan.arms[arm].settings for arm, _, name in made if name == stage]
        jobs = len(settings) * len(plan.seeds) * (plan.shards if stage in SHARDED else 1)
        items = sum(_items(stage, own, questions) for own in settings) * len(plan.seeds)
        rows.append(Work(stage, jobs, items, UNITS[stage]))
    return rows


def _made(plan: Plan) -> Iterator[tuple[str, int, str]]:
    """(arm, iteration, stage) of every step that a run makes unasked."""
    for name, arm in plan.arms.items():
        if not (arm.unasked and arm.train):
            continue
        for iteration in range(1, arm.iterations + 1):
            for stage in LOOP:
                if plan.home(name, iteration, stage) == name:
                    yield name, iteration, stage


def _items(stage: str, settings: Any, questions: int) -> int:
    prompts, images, pairs, align = (settings[name] for name in ("prompts", "images", "pairs", "align"))
    drawn = prompts.n * images.n * images.noises
    if stage in ("prompts", "questions"):
        return int(prompts.n)
    if stage == "images":
        return int(drawn)
    if stage == "score":
        return int(drawn * questions)
    each = pairs.top_n**2 if pairs.product else pairs.top_n
    most = (pairs.prompts or prompts.n) * min(each, pairs.keep or each)
    return int(most if stage == "pairs" else align.epochs * -(-most // align.batch))
