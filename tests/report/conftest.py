"""Made-up evaluations for the report's tests: files as the evaluate stage writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from silmm.records import EVAL, EvalStats, Metric, write_json, write_table
from silmm.report import summarize
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
    role: str = "control",
    lmm: str = "discrete",
) -> Entry:
    """An evaluation in which each unit holds with about probability `rate`, with common draws for all policies."""
    rows = []
    for sampler in samplers:
        for number, category in enumerate(SUBCATEGORIES):
            for prompt in range(prompts):
                draw = generator(seed, sampler, category, prompt).random((n, 3))
                ease = generator(category, prompt).normal() * 0.1 - 0.02 * number
                for sample in range(n):
                    malformed = bool(draw[sample, 0] > 0.97)
                    objects = 0 if malformed else 1 + int(3 * draw[sample, 1] * rate)
                    for unit, kind in enumerate(("exist", "exist", "total")):
                        rows.append(
                            {
                                **{"sampler": sampler, "prompt_id": f"{category}-{prompt:03}", "subcategory": category},
                                **{"sample": sample, "unit": f"{kind}({unit})", "kind": kind},
                                "oracle": bool(draw[sample, unit] < rate + ease),
                                **{"p_yes": 0.7, "p_no": 0.2, "malformed": malformed, "objects": objects},
                            }
                        )
    write_table(folder / "eval.parquet", {name: [row[name] for row in rows] for name in EVAL.columns}, EVAL)
    listed = [
        *(Metric("self_score", sampler, "all", self_score, 96) for sampler in samplers),
        *(Metric("vqa_accuracy", "", category, 0.9, 50) for category in SUBCATEGORIES),
    ]
    write_json(folder / "eval.stats.json", EvalStats(tuple(listed)))
    return Entry(lmm, arm, seed, iteration, folder / "eval.parquet", folder / "eval.stats.json", role)


def _study(folder: Path, seeds: int = 3, **options: int) -> list[Entry]:
    """A base, the main arm over three iterations, and controls, for each seed."""
    roles = {"silmm": "main", "best_of_n": "untrained"}
    policies = [("base", 0, 0.70, 0.30), ("silmm", 1, 0.78, 0.42), ("silmm", 2, 0.83, 0.55), ("silmm", 3, 0.86, 0.63)]
    policies += [("dpo", 1, 0.74, 0.40), ("sft", 1, 0.75, 0.36), ("random_score", 1, 0.70, 0.29)]
    policies += [("dpo", 2, 0.73, 0.52), ("sft", 2, 0.78, 0.41), ("random_score", 2, 0.695, 0.30)]
    policies += [("dpo", 3, 0.70, 0.60), ("sft", 3, 0.80, 0.44), ("random_score", 3, 0.69, 0.29)]
    policies += [("best_of_n", 1, 0.80, 0.6)]
    made = []
    for seed in range(seeds):
        for arm, t, rate, own in policies:
            named = {"arm": arm, "iteration": t, "seed": seed, "role": roles.get(arm, "control")}
            made.append(_evaluation(folder / f"{arm}{t}-{seed}", rate, self_score=own, **named, **options))
    return made


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., Entry]:
    """`evaluation(folder, rate, arm=..., ...)`: one evaluation's files."""
    return _evaluation


@pytest.fixture(scope="session")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """A study of two seeds: all arms, three iterations. Do not change its files."""
    return _study(tmp_path_factory.mktemp("runs"), seeds=2, prompts=4)


@pytest.fixture(scope="session")
def two_lmms(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> list[Entry]:
    """A part of `entries`, and a continuous LMM whose `kc_dpo` shares the files of `silmm`; `gamma_10` is new."""
    folder = tmp_path_factory.mktemp("continuous")
    policies = [("base", 0, 0.70, ""), ("silmm", 1, 0.78, "main"), ("silmm", 2, 0.83, "main")]
    policies += [("sft", 1, 0.72, "control"), ("gamma_10", 1, 0.71, "control"), ("best_of_n", 1, 0.9, "untrained")]
    common = {"lmm": "continuous", "prompts": 3, "samplers": ("constant_noise", "fresh_noise")}
    made = [
        _evaluation(folder / f"{arm}{t}", rate, arm=arm, iteration=t, self_score=rate, role=role, **common)
        for arm, t, rate, role in policies
    ]
    shared = [dataclasses.replace(e, arm="kc_dpo", role="control") for e in made if e.arm == "silmm"]
    return [*(e for e in entries if e.seed == 0 and e.iteration < 2), *made, *shared[:1]]


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]) -> Path:
    """summary.csv and gains.csv of `entries`."""
    folder = tmp_path_factory.mktemp("results")
    summarize.run(entries, folder / "summary.csv", folder / "gains.csv")
    return folder


@pytest.fixture(scope="session")
def results_of_two(tmp_path_factory: pytest.TempPathFactory, two_lmms: list[Entry]) -> Path:
    """summary.csv and gains.csv of `two_lmms`."""
    folder = tmp_path_factory.mktemp("results_of_two")
    summarize.run(two_lmms, folder / "summary.csv", folder / "gains.csv")
    return folder
