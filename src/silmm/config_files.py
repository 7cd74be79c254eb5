"""Config files, read strictly: PyYAML takes the last of two keys with one name, and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from silmm.errors import InputError


class _Strict(yaml.SafeLoader):
    """PyYAML's loader of plain values, which refuses a key that is there twice."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key, _ in node.value:
        if isinstance(key.value, str) and key.value in seen and key.tag != "tag:yaml.org,2002:merge":
            mark = key.start_mark
            raise yaml.MarkedYAMLError(problem=f"key {str(key.value)[:60]!r} is there twice", problem_mark=mark)
        if isinstance(key.value, str):
            seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(file: Path) -> dict[str, Any]:
    """A config file. Raises InputError, with the line, where it is missing, not YAML, no mapping, or repeats a key."""
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=_Strict)
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: give a config, such as config/paper/emu3.yaml") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{file}{line}: not YAML ({error.problem}): mend this line") from None
    except (OSError, RecursionError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{file}: not YAML ({' '.join(str(error).split())[:200]}): give another file") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds no keys: expected a mapping, as in config/default.yaml")
    return found
