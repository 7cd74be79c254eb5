"""The rows of bench/results/kernels.csv: made, kept from other devices, printed."""

from __future__ import annotations

import csv
import datetime
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import torch

from bench.cases import Case
from bench.ceilings import Ceiling, Limits
from bench.timing import Times

COLUMNS = (
    "op", "impl", "device", "dtype", "shape", "mode", "median_ms", "p20_ms", "p80_ms", "bytes", "flop", "of_ceiling",
    "vs_eager", "vs_compile", "versions", "date",
)  # fmt: skip
CEILINGS = ("copy", "read", "fill", "matmul")
Row = dict[str, str]


def name_of(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(found, platform.processor() or 'unknown processor')}, 1 thread"


def versions() -> str:
    """What the times depend on beside the device."""
    found = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for package in ("triton", "numpy"):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"no {package}")
    return "; ".join(found)


def _row(
    op: str, impl: str, device: str, dtype: torch.dtype, shape: str, mode: str, times: Times, nbytes: int, flop: int
) -> Row:
    values = (op, impl, device, str(dtype).removeprefix("torch."), shape, mode)
    timed = (f"{t:.4g}" for t in times)
    where = (versions(), datetime.date.today().isoformat())
    return dict(zip(COLUMNS, (*values, *timed, str(nbytes), str(flop), "", "", "", *where), strict=True))


def ceiling_row(ceiling: Ceiling, device: str) -> Row:
    """The row of a ceiling."""
    row = _row(ceiling.op, "limit", device, ceiling.dtype, ceiling.shape, "forward", *ceiling[3:])
    return row | {"of_ceiling": "1.000" if ceiling.op in ("copy", "matmul") else ""}


def rows_of(case: Case, times: dict[str, Times], device: str, limits: Limits | None) -> list[Row]:
    """A row a way. Without limits no fraction of a ceiling is claimed."""
    rows = []
    for impl, t in times.items():
        row = _row(case.op, impl, device, case.dtype, case.shape, case.mode, t, case.nbytes, case.flop)
        if limits:
            row["of_ceiling"] = f"{limits.milliseconds(case.nbytes, case.flop, case.dtype) / t.median:.3f}"
        for rival in ("eager", "compile"):
            if rival in times:
                row[f"vs_{rival}"] = f"{times[rival].median / t.median:.2f}"
        rows.append(row)
    return rows


def read(path: Path) -> list[Row]:
    """The rows of a file; none where there is no such file or its columns are others."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    return rows if tuple(reader.fieldnames or ()) == COLUMNS else []


def write(path: Path, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    """Write a CSV file: whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{path.name}")
    with temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def merged(old: list[Row], new: list[Row]) -> list[Row]:
    """`new` in place of old rows of the same ops and devices, sorted by device and op; order within is kept."""
    replaced = {(row["op"], row["device"]) for row in new}
    kept = [row for row in old if (row["op"], row["device"]) not in replaced]
    return sorted([*kept, *new], key=lambda row: (row["device"], row["op"] not in CEILINGS, row["op"]))


def text(rows: list[Row]) -> str:
    """A short table."""
    columns = ("op", "shape", "mode", "impl", "median_ms", "of_ceiling", "vs_eager", "vs_compile")
    cells = [columns, *(tuple(row[c] for c in columns) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = []
    for line in cells:
        left = (cell.ljust(w) for cell, w in zip(line[:4], widths[:4], strict=True))
        right = (cell.rjust(w) for cell, w in zip(line[4:], widths[4:], strict=True))
        lines.append("  ".join([*left, *right]).rstrip())
    return "\n".join(lines)
