"""How fast the stages went where they have run: items and seconds of a results folder, from the files that Snakemake
and the stages wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BENCHMARKS = "{stage}.tsv", "{stage}-*.tsv"  # whole, or one a shard


class Rate(NamedTuple):
    """Of one stage."""

    items: int
    seconds: float
    jobs: int


def rates(results: Path, lmm: str) -> dict[str, Rate]:
    """The rate of each stage of which at least one job has ended."""
    found: dict[str, Rate] = {}
    for stage in ("prompts", "images", "questions", "score", "align"):
        ended = [one for one in _ended(results, lmm, stage) if one.items]
        if ended:
            found[stage] = Rate(sum(r.items for r in ended), sum(r.seconds for r in ended), len(ended))
    return found


def questions_of(results: Path, lmm: str) -> float | None:
    """Questions a prompt, on average, of all that were asked."""
    counts = [_questions(file) for file in sorted((results / lmm).glob("seed*/*/iter*/qa.jsonl"))]
    prompts = sum(n for n, _ in counts)
    return sum(asked for _, asked in counts) / prompts if prompts else None


def _ended(results: Path, lmm: str, stage: str) -> Iterator[Rate]:
    from silmm.report.cost import read

    for folder in sorted((results / "benchmarks" / lmm).glob("seed*/*/iter*")):
        home = results / folder.relative_to(results / "benchmarks")
        for pattern in BENCHMARKS:
            for file in sorted(folder.glob(pattern.format(stage=stage))):
                shard = file.stem.partition("-")[2]
                yield Rate(_items(home, stage, shard), float(read(file, stage).seconds.iloc[0]), 1)


def _items(home: Path, stage: str, shard: str) -> int:
    """Items that a job made; 0 where its files are gone."""
    import pyarrow.parquet as pq

    if stage in ("prompts", "questions", "align"):
        name = {"prompts": "prompts.jsonl", "questions": "qa.jsonl", "align": "ckpt/training.jsonl"}[stage]
        file = home / name
        return len(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else 0
    name = f"images/shard-{shard}/index.parquet" if stage == "images" else f"scores/shard-{shard}.parquet"
    file = home / name
    return int(pq.read_metadata(file).num_rows) if file.is_file() else 0


def _questions(file: Path) -> tuple[int, int]:
    from silmm.records import PromptQuestions, read_jsonl

    rows = read_jsonl(file, PromptQuestions)
    return len(rows), sum(len(row.questions) for row in rows)
