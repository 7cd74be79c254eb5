"""Speeds are taken from what has run: items of the stages' files, seconds of Snakemake's."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from silmm.arms import plan
from silmm.forecast.rates import Rate, questions_of, rates
from silmm.forecast.work import LOOP, work
from silmm.records import INDEX, SCORES, RecordError, write_table
from tests.forecast.conftest import CONFIG

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def benchmark(results: Path, name: str, seconds: float) -> None:
    file = results / "benchmarks" / "janus" / "seed0" / "silmm" / "iter1" / f"{name}.tsv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{HEADER}{seconds}\t0:00:01\t1\t1\t1\t1\t0\t0\t50\t1.0\n")


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Prompts, one of two shards of images and scores, and questions; an alignment of which only the time is left."""
    home = tmp_path / "janus" / "seed0" / "silmm" / "iter1"
    (home / "images" / "shard-0").mkdir(parents=True)
    (home / "scores").mkdir()
    (home / "prompts.jsonl").write_text("{}\n" * 20)
    question = '{"id":"q0","text":"Is it?","expected":"yes","parents":[]}'
    lines = [f'{{"prompt_id":"p{i}","units":["it"],"questions":[{question}]}}\n' for i in range(4)]
    (home / "qa.jsonl").write_text("".join(lines))
    rows = 12
    index = {"prompt_id": ["p0"] * rows, "sample": list(range(rows)), "noise": [0] * rows, "file": ["x"] * rows}
    write_table(home / "images" / "shard-0" / "index.parquet", index, INDEX)
    scores = {name: [] for name in SCORES.columns}
    write_table(home / "scores" / "shard-0.parquet", scores, SCORES)
    for name, seconds in (("prompts", 10), ("images-0", 6), ("questions", 8), ("score-0", 3), ("align", 100)):
        benchmark(tmp_path, name, seconds)
    return tmp_path


def test_items_and_seconds(ran: Path) -> None:
    found = rates(ran, "janus")
    assert found == {"prompts": Rate(20, 10.0, 1), "images": Rate(12, 6.0, 1), "questions": Rate(4, 8.0, 1)}
    assert rates(ran, "emu3") == {}
    assert questions_of(ran, "janus") == 1.0 and questions_of(ran, "emu3") is None


def test_a_file_that_is_no_benchmark_is_named(ran: Path) -> None:
    file = ran / "benchmarks" / "janus" / "seed0" / "silmm" / "iter1" / "prompts.tsv"
    file.write_text("nothing\n")
    with pytest.raises(RecordError, match="prompts.tsv"):
        rates(ran, "janus")


def test_work_is_counted_once_for_arms_that_share_it() -> None:
    config = yaml.safe_load((CONFIG / "default.yaml").read_text())
    shared = {row.stage: row for row in work(plan({**config, "iterations": 2}, "discrete"), 3)}
    alone = {"silmm": {}, "dpo": None, "sft": None, "random_score": None, "best_of_n": None}
    main = {row.stage: row for row in work(plan({**config, "iterations": 2, "arms": alone}, "discrete"), 3)}
    assert tuple(shared) == LOOP
    assert shared["images"] == main["images"] and shared["score"] == main["score"]
    assert shared["images"].items == 2 * 320 * 8 and shared["images"].jobs == 2 * 2
    assert shared["score"].items == 3 * shared["images"].items
    assert main["align"].jobs == 2 and shared["align"].jobs == 2 + 3  # dpo, sft and random_score train their own
    seeds = {row.stage: row for row in work(plan({**config, "seeds": [0, 1], "iterations": 2}, "discrete"), 3)}
    assert all(seeds[stage].items == 2 * shared[stage].items for stage in LOOP)
