"""The prompts of a benchmark, or a part of it: some categories, or the first prompts of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from silmm.benchmarks.interface import Benchmark, Item
from silmm.errors import InputError


def read_whole(benchmark: Benchmark, data: Path) -> list[Item]:
    """All prompts of the official files. Raises InputError where there are more or fewer than published."""
    items = benchmark.read(data)
    if benchmark.prompts not in (None, len(items)):
        raise InputError(
            f"{data}: {len(items)} prompts of {benchmark.name}: expected {benchmark.prompts}; give the official files"
        )
    return items


def chosen(benchmark: Benchmark, items: Sequence[Item], only: Sequence[str], first: int | None) -> list[Item]:
    """The items of these categories (all where none is named), and of each the first few.

    Raises InputError for a category that there is not.
    """
    there = list(dict.fromkeys(item.category for item in items))
    if unknown := [category for category in only if category not in there]:
        raise InputError(f"{unknown[0]}: no category of {benchmark.name}: choose of {', '.join(there)} (--only)")
    kept: list[Item] = []
    counts = dict.fromkeys(there, 0)
    for item in items:
        counts[item.category] += 1
        if (not only or item.category in only) and (first is None or counts[item.category] <= first):
            kept.append(item)
    return kept
