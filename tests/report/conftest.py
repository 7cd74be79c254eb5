"""Made-up evaluations for the report's tests: files as the evaluate stage writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from silmm.records import EVAL, EvalStats, Metric, write_json, write_table
from silmm.report.entries import Entry
from silmm.rng import generator
from silmm.shapeworld.language import SUBCATEGORIES


def _evaluation(
    folder: Path,
    rate: float,
    *,
    arm: str = "base",
    seed: int = 0,
    iteration: int = 0,
    prompts: int = 6,
    n: int = 2,
    samplers: tuple[str, ...] = ("t1.0",),
    self_score: float = 0.3,
) -> Entry:
    """An evaluation in which each unit holds with about probability `rate`, with common draws for all policies."""
    rows = []
    for sampler in samplers:
        for number, category in enumerate(SUBCATEGORIES):
            for prompt in range(prompts):
                draw = generator(seed, sampler, category, prompt).random((n, 3))
                ease = generator(category, prompt).normal() * 0.1 - 0.02 * number
                for sample in range(n):
                    for unit, kind in enumerate(("exist", "exist", "total")):
                        rows.append(
                            {
                                **{"sampler": sampler, "prompt_id": f"{category}-{prompt:03}", "subcategory": category},
                                **{"sample": sample, "unit": f"{kind}({unit})", "kind": kind},
                                "oracle": bool(draw[sample, unit] < rate + ease),
                                **{"p_yes": 0.7, "p_no": 0.2, "malformed": bool(draw[sample, 0] > 0.97)},
                            }
                        )
    write_table(folder / "eval.parquet", {name: [row[name] for row in rows] for name in EVAL.columns}, EVAL)
    listed = [
        *(Metric("self_score", sampler, "all", self_score, 96) for sampler in samplers),
        *(Metric("vqa_accuracy", "", category, 0.9, 50) for category in SUBCATEGORIES),
    ]
    write_json(folder / "eval.stats.json", EvalStats(tuple(listed)))
    return Entry("discrete", arm, seed, iteration, folder / "eval.parquet", folder / "eval.stats.json")


def _study(folder: Path, seeds: int = 3, **options: int) -> list[Entry]:
    """A base, the main arm over three iterations, and controls, for each seed."""
    policies = [("base", 0, 0.70, 0.30), ("silmm", 1, 0.78, 0.42), ("silmm", 2, 0.83, 0.55), ("silmm", 3, 0.86, 0.63)]
    policies += [("dpo", 1, 0.74, 0.40), ("sft", 1, 0.75, 0.36), ("random_score", 1, 0.70, 0.29)]
    policies += [("dpo", 2, 0.73, 0.52), ("sft", 2, 0.78, 0.41), ("random_score", 2, 0.695, 0.30)]
    policies += [("dpo", 3, 0.70, 0.60), ("sft", 3, 0.80, 0.44), ("random_score", 3, 0.69, 0.29)]
    policies += [("best_of_n", 1, 0.80, 0.6)]
    return [
        _evaluation(folder / f"{arm}{t}-{s}", rate, arm=arm, iteration=t, seed=s, self_score=own, **options)
        for s in range(seeds)
        for arm, t, rate, own in policies
    ]


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., Entry]:
    """`evaluation(folder, rate, arm=..., ...)`: one evaluation's files."""
    return _evaluation


@pytest.fixture(scope="session")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """A study of two seeds: all arms, three iterations. Do not change its files."""
    return _study(tmp_path_factory.mktemp("runs"), seeds=2, prompts=4)
