"""Config files as Snakemake merges them: each on top of the ones before, key by key, on top of config/default.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from silmm.errors import InputError

DEFAULT = Path("config/default.yaml")


def read(files: Sequence[Path]) -> dict[str, Any]:
    """The merged config. Raises InputError for a file that is missing, not YAML, or no mapping."""
    if not DEFAULT.is_file():
        raise InputError(f"{DEFAULT}: no such file: work in the repository's folder, where Snakemake does")
    merged: dict[str, Any] = {}
    for file in (DEFAULT, *files):
        _update(merged, _read(file))
    return merged


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: give a config, such as config/paper/emu3.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds no keys: expected a mapping, as in config/default.yaml")
    return found


def _update(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _update(into[key], value)
        else:
            into[key] = value
