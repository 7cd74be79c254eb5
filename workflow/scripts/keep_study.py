"""Copy a run's tables and pictures to where a reader sees them without hours of computing, with how they were made.

python workflow/scripts/keep_study.py --results results --out docs/study --command 'make study'

The figures after the paper go to its folder paper/. study.json says how they were made: commit, command, date,
processor, versions, seeds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from silmm.atomic import atomic_file  # noqa: E402
from silmm.doctor import processor  # noqa: E402
from silmm.errors import InputError  # noqa: E402
from silmm.records import write_json  # noqa: E402

WHOLE = ("summary.csv", "gains.csv", "figures/*", "contact_sheet_*.png", "samples_*.png")
PAPER = ("paper/*.png", "paper/*.csv", "paper/*.tex")
PACKAGES = ("torch", "numpy", "transformers", "snakemake")


def files(results: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files of a run; InputError names a pattern of which there is none."""
    found = {pattern: sorted(results.glob(pattern)) for pattern in patterns}
    for pattern, paths in found.items():
        if not paths:
            raise InputError(f"{results / pattern}: there is none; make the figures first (snakemake figures)")
    return [path for paths in found.values() for path in paths]


def copy(paths: list[Path], folder: Path) -> None:
    """Copy files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with atomic_file(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)


def commit() -> str:
    """The commit of this checkout, and whether files differ from it."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty= (with changes)"]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown: no git checkout"


def provenance(results: Path, command: str) -> dict[str, Any]:
    """How the results were made, as far as it can be told after it."""
    return {
        "commit": commit(),
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
        "seeds": sorted(int(seed) for seed in pd.read_csv(results / "summary.csv").seed.unique()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="results folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--command", required=True, help="what made the results, for study.json")
    parser.add_argument("--paper-alone", action="store_true", help="only the figures after the paper")
    args = parser.parse_args()
    paper = args.out / "paper"
    try:
        whole = files(args.results, WHOLE)
        copy(files(args.results, PAPER), paper)
    except InputError as error:
        sys.exit(f"keep_study: error: {error}")
    if not args.paper_alone:
        copy(whole, args.out)
    write_json((paper if args.paper_alone else args.out) / "study.json", provenance(args.results, args.command))


if __name__ == "__main__":
    main()
