"""How much memory a call needs beside its inputs and its results (for a loss: the gradients)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from bench.cases import Case
from bench.ceilings import nbytes
from bench.check import tensors
from bench.timing import Way

COLUMNS = ("op", "impl", "device", "shape", "extra_mib", "ratio_to_eager")
Row = dict[str, str]


def extra(way: Way, inputs: tuple[Any, ...]) -> int:
    """Bytes at the peak of a call beyond what was there before it and what it returns."""
    way(*inputs)  # what is made once (compiled code, workspaces that stay) does not count
    result, peak = _peak_cuda(way, inputs) if inputs[0].is_cuda else peak_cpu(way, inputs)
    return peak - nbytes(*tensors(result))


def _peak_cuda(way: Way, inputs: tuple[Any, ...]) -> tuple[Any, int]:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = way(*inputs)
    torch.cuda.synchronize()
    return result, torch.cuda.max_memory_allocated() - before


def peak_cpu(way: Way, inputs: tuple[Any, ...]) -> tuple[Any, int]:
    """The result of a call, and the most bytes that tensors made in it took at a time.

    torch has no counter for memory of the CPU; its profiler sees every allocation and every release of its own, not
    those of other libraries.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = way(*inputs)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return result, peak


def rows_of(case: Case, ways: dict[str, Way], inputs: tuple[Any, ...], device: str) -> list[Row]:
    """A row a way."""
    found = {name: extra(way, inputs) / (1 << 20) for name, way in ways.items() if name != "cpp avx2"}
    return [
        {
            "op": case.op,
            "impl": name,
            "device": device,
            "shape": f"{case.shape} {case.mode}",
            "extra_mib": f"{mib:.1f}",
            "ratio_to_eager": f"{mib / found['eager']:.4f}" if found.get("eager") else "",
        }
        for name, mib in found.items()
    ]


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def text(rows: list[Row]) -> str:
    """A short table."""
    lines = [f"{row['shape']:<44}{row['impl']:<11}{row['extra_mib']:>10}{row['ratio_to_eager']:>10}" for row in rows]
    return "\n".join([f"{'extra memory of ' + rows[0]['op']:<55}{'MiB':>10}{'of eager':>10}", *lines])
