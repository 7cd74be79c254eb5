"""DPG-Bench with one picture a prompt: what the published code does without its shell script (`--pic-num 1`)."""

from __future__ import annotations

from pathlib import Path

from silmm.benchmarks.dpg import benchmark
from silmm.benchmarks.interface import Item
from silmm.benchmarks.named_by_id import ONE_PICTURE


def read(folder: Path) -> list[Item]:
    """As of DPG-Bench, with one seed."""
    return [item._replace(seeds=(0,)) for item in benchmark.read(folder)]


BENCHMARK = benchmark.BENCHMARK._replace(
    name="dpg_bench_1", title="DPG-Bench, one picture a prompt", read=read, layout=ONE_PICTURE
)
