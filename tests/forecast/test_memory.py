"""The forecast of whole stages, against torch's own count of what they allocate: within 15 %."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import lmm_memory, lmm_weights
from bench.lmm_weights import Size
from bench.memory import peak_cpu
from silmm import lmm as models

ROWS = 4
SIZES = {"janus": Size(192, 2, 256, 2048, 512, 32), "emu3": Size(192, 2, 128, 256, 4096, 32)}


@pytest.mark.parametrize("family", SIZES)
def test_stages_take_what_is_forecast(family: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    size = SIZES[family]
    lmm_weights.build(family, size, tmp_path / "weights")
    lmm = models.load(lmm_weights.adopted(family, tmp_path, rows=ROWS, side=size.side))
    expected = lmm_memory.forecast(family, size, ROWS, tmp_path)
    for stage in ("look", "align"):
        measured = peak_cpu(lmm_memory.way(lmm, stage, size, ROWS), ())[1]
        assert measured * 0.85 <= expected[stage] <= measured * 1.15, f"{stage}: {measured} and {expected[stage]}"
    loaded = sum(p.numel() * p.element_size() for p in lmm.adapted.parameters())  # type: ignore[attr-defined]
    assert expected["load"] == pytest.approx(loaded, rel=0.01)


def test_the_measured_table_is_as_forecast() -> None:
    """Measured at larger sizes, each stage in a process of its own: bench/results/lmm_memory.csv."""
    import csv

    with Path(__file__).parents[2].joinpath("bench/results/lmm_memory.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["stage"] for row in rows} == set(lmm_memory.STAGES)
    for row in rows:
        assert 0.85 <= float(row["ratio"]) <= 1.15, row
