"""What a run cost: seconds and peak memory of every stage, from the benchmark files that Snakemake writes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from silmm.errors import InputError, RecordError
from silmm.report.entries import BASE, Step

LOOP = ("prompts", "images", "questions", "score", "gather", "pairs", "align")  # steps 1 to 5
OF_BASE = ("pretrain", "evaluate")
_COLUMNS = {"s": "seconds", "cpu_time": "cpu_seconds", "max_rss": "peak_mb"}


def cost(steps: Iterable[Step]) -> pd.DataFrame:
    """One row an iteration and stage: lmm, arm, seed, iteration, stage, jobs, seconds, cpu_seconds, peak_mb.

    Shards of a stage are added up; `seconds` are by the clock, `peak_mb` is the largest resident set of a job (MiB). A
    job that ended before it could be measured counts its seconds alone: its peak is nan.

    Raises:
        InputError: no iteration at all.
        RecordError: a stage without a file, or a file that is none of Snakemake's; names it and the rule.
    """
    rows = []
    for step in steps:
        for stage in OF_BASE if step.arm == BASE else (*LOOP, "evaluate"):
            names = {"lmm": step.lmm, "arm": step.arm, "seed": step.seed, "iteration": step.iteration, "stage": stage}
            rows.append(names | _measured(step.dir, stage))
    if not rows:
        raise InputError("costs need at least one iteration (--entry)")
    return pd.DataFrame(rows)


def _measured(folder: Path, stage: str) -> dict[str, float]:
    files = [path for path in sorted(folder.glob(f"{stage}*.tsv")) if re.fullmatch(rf"{stage}(-\d+)?", path.stem)]
    if not files:
        raise RecordError(f"{folder}/{stage}.tsv: no such file; run snakemake --forcerun {stage}")
    jobs = pd.concat([read(path, stage) for path in files])
    seconds, cpu, peak = (jobs[name] for name in _COLUMNS.values())
    return {"jobs": len(files), "seconds": seconds.sum(), "cpu_seconds": cpu.sum(), "peak_mb": peak.max()}


def read(path: Path, stage: str) -> pd.DataFrame:
    """The one row of a benchmark file: seconds, cpu_seconds, peak_mb. Raises RecordError where it is none."""
    try:
        table = pd.read_csv(path, sep="\t", na_values=["-", "NA"])[list(_COLUMNS)].rename(columns=_COLUMNS)
        table = table.astype(float)
    except (KeyError, ValueError, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RecordError(f"{path}: not a benchmark file ({reason}); run snakemake --forcerun {stage}") from None
    if len(table) != 1 or table.seconds.isna().any():
        raise RecordError(f"{path}: {len(table)} rows, expected one with seconds; run snakemake --forcerun {stage}")
    return table
