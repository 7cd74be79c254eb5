"""A tiny LMM on disk, and the files of an iteration around it, without waiting for a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from silmm import rng as keyed
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.records import Prompt, gather, write_jsonl
from silmm.settings import Images, Pairs, Score
from silmm.shapeworld.language import CATEGORY, SUBCATEGORIES, parse_prompt, units, write_prompt, write_question
from silmm.shapeworld.questions import questions_of
from silmm.shapeworld.sample import sample_spec
from silmm.stages import images, pairs, score
from tests.lmm.conftest import build

SAMPLES = 2


class Files(NamedTuple):
    """What one iteration has made when alignment starts."""

    prompts: Path
    qa: Path
    images: tuple[Path, ...]
    scores: Path
    pairs: Path


@pytest.fixture(scope="session")
def tiny() -> DiscreteLMM:
    torch.set_num_threads(1)
    return build()


@pytest.fixture(scope="session")
def ckpt(tiny: DiscreteLMM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "ckpt"
    folder.mkdir()
    tiny.save(folder)
    return folder


@pytest.fixture(autouse=True)
def torch_settings():  # type: ignore[no-untyped-def]
    """Stages fix torch's threads and algorithms for their process: here that ends with the test."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def training_prompt(*key: object, subcategory: str) -> str:
    """A prompt that training may use, a pure function of the key."""
    rng = keyed.generator("traps", *key)
    return write_prompt(sample_spec(rng, subcategory, held_out=False), rng)


def write_prompts(path: Path, n: int) -> list[Prompt]:
    """A prompts.jsonl of n prompts, the sub-categories in turn."""
    rows = []
    for i in range(n):
        name = SUBCATEGORIES[i % len(SUBCATEGORIES)]
        rows.append(Prompt(f"p{i:05d}", CATEGORY[name], name, training_prompt(i, subcategory=name), 0))
    write_jsonl(path, rows)
    return rows


def write_qa(path: Path, rows: list[Prompt]) -> None:
    """The qa.jsonl that a perfect question writer would give."""
    records = []
    for row in rows:
        spec = parse_prompt(row.prompt)
        assert spec is not None
        records.append(questions_of(row.id, [(write_question(unit), unit) for unit in units(spec)]))
    write_jsonl(path, records)


def make_iteration(folder: Path, ckpt: Path, n: int, shards: int) -> Files:
    """Prompts by the world's own grammar; images, scores and pairs by the stages."""
    prompts, qa, table = folder / "prompts.jsonl", folder / "qa.jsonl", folder / "scores.parquet"
    write_qa(qa, write_prompts(prompts, n))
    drawn, scored = [], []
    for shard in range(shards):
        drawn.append(folder / f"images/shard-{shard}")
        images.run(
            Images(n=SAMPLES), ckpt=ckpt, prompts=prompts, seed=0, iteration=1, shard=(shard, shards), out=drawn[-1]
        )
        scored.append(folder / f"scores/shard-{shard}.parquet")
        score.run(Score(), ckpt=ckpt, qa=qa, images=(drawn[-1],), out=scored[-1])
    gather(scored, table)
    made = Files(prompts, qa, tuple(drawn), table, folder / "pairs.parquet")
    stats = folder / "pairs.stats.json"
    settings = Pairs(min_gap=0.0)
    pairs.run(settings, scores=table, qa=qa, images=made.images, seed=0, iteration=1, out=made.pairs, stats=stats)
    return made


@pytest.fixture(scope="session")
def iteration(ckpt: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Twelve prompts, two shards (the second one empty)."""
    return make_iteration(tmp_path_factory.mktemp("iteration"), ckpt, 12, 2)
