"""Config files as Snakemake merges them: each on top of the ones before, key by key, on top of config/default.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm import config_files
from silmm.errors import InputError

DEFAULT = Path("config/default.yaml")


def read(files: Sequence[Path]) -> dict[str, Any]:
    """The merged config. Raises InputError for a file that is missing, not YAML, or no mapping."""
    if not DEFAULT.is_file():
        raise InputError(f"{DEFAULT}: no such file: work in the repository's folder, where Snakemake does")
    merged: dict[str, Any] = {}
    for file in (DEFAULT, *files):
        _update(merged, config_files.read(Path(file)))
    return merged


def _update(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _update(into[key], value)
        else:
            into[key] = value
