"""A benchmark's official files: in a folder of the user's, or downloaded into it from where they are published."""

from __future__ import annotations

import hashlib
import sys
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

from silmm.atomic import atomic_file
from silmm.benchmarks.interface import Benchmark, DataFile
from silmm.errors import InputError

SECONDS = 60  # without an answer


def require(benchmark: Benchmark, folder: Path, download: bool = False) -> None:
    """See to it that the official files are in `folder`; those that are there are never replaced.

    Raises InputError that lists what is missing, or what could not be downloaded.
    """
    missing = [file for file in benchmark.files if not (folder / file.path).is_file()]
    if missing and not download:
        names = ", ".join(file.path for file in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"{folder}: {len(missing)} of {len(benchmark.files)} official files of {benchmark.name} are missing"
            f" ({names}): add --download to fetch them ({benchmark.commit}), or give the folder that has them"
        )
    for file in missing:
        _download(file, folder / file.path)


def _download(file: DataFile, path: Path) -> None:
    print(f"benchmark: {path} from {file.url}", file=sys.stderr)
    try:
        with urllib.request.urlopen(file.url, timeout=SECONDS) as answer:
            content: bytes = answer.read()
    except (OSError, HTTPException, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file.url}: {reason}: give a folder that has {file.path} (--data)") from None
    found = hashlib.sha256(content).hexdigest()
    if file.sha256 and found != file.sha256:
        raise InputError(
            f"{file.url}: sha256 is {found}: expected {file.sha256}; try again, or give the file in --data"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def hashes(benchmark: Benchmark, folder: Path) -> dict[str, str]:
    """sha256 of every official file in a folder; others than the published ones are said on standard error."""
    found = {file.path: hashlib.sha256((folder / file.path).read_bytes()).hexdigest() for file in benchmark.files}
    for other in others(benchmark.files, found):
        print(
            f"benchmark: {folder / other} is not the file of {benchmark.commit}: its scores are its own",
            file=sys.stderr,
        )
    return found


def others(files: Sequence[DataFile], found: dict[str, str]) -> list[str]:
    """The files whose content is not the published one."""
    return [file.path for file in files if file.sha256 and found[file.path] != file.sha256]
