"""The result file that the published evaluator of DPG-Bench writes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from silmm.benchmarks.dpg.tallies import ALL, BROAD, tallies
from silmm.benchmarks.interface import OFFICIAL, Item, Row


def write_official(folder: Path, items: Sequence[Item], rows: Sequence[Row]) -> None:
    """`dpg-bench_results.txt`: a line a prompt with the score of each picture and their mean, then L1, L2 and the
    score. Prompts that the published code skips have no line; names of model and folder are left out."""
    by_picture: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if not math.isnan(row.official):
            by_picture[row.item_id][row.image].append(row.official)
    lines = []
    for item in items:
        scores = [sum(own) / len(own) for _, own in sorted(by_picture[item.id].items())]
        if scores:
            lines.append(", ".join(map(str, (f"{item.id}.png", *scores, sum(scores) / len(scores)))))
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for tally in tallies(items, rows):
        if tally.variant == OFFICIAL:
            sums[tally.category][0] += tally.total
            sums[tally.category][1] += tally.weight
    values = {name: total / weight * 100 for name, (total, weight) in sums.items()}
    broad = [name for name in values if name in BROAD]
    lines += ["L1 category scores:", *(f"\t{name}: {values[name]}" for name in broad)]
    rest = sorted(name for name in values if name not in BROAD and name != ALL)
    lines += ["L2 category scores:", *(f"\t{name}: {values[name]}" for name in rest)]
    lines += [f"DPG-Bench score: {values[ALL]}"] if ALL in values else []
    (folder / "dpg-bench_results.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
