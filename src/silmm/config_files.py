"""Config files, read strictly: PyYAML takes the last of two keys with one name, and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from silmm.errors import InputError

LARGEST = 2**20  # bytes of a config file
LONGEST = 10_000  # characters of a value
EXPANSION = 10  # values for a byte, with aliases and merges written out: more than YAML without aliases has


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


def _written_out(node: yaml.Node | None, most: int, known: dict[int, int]) -> int:
    """How many values a node has with its aliases written out; each is looked at once.

    Raises MarkedYAMLError where they are more than `most`, one holds itself, or a value is too long.
    """
    if node is None or id(node) in known:
        if node is not None and known[id(node)] == 0:
            raise yaml.MarkedYAMLError(problem="an alias of what it is in", problem_mark=node.start_mark)
        return 0 if node is None else known[id(node)]
    known[id(node)] = 0  # being counted
    count = 1
    if isinstance(node, yaml.ScalarNode) and len(node.value) > LONGEST:
        problem = f"a value of {len(node.value):,} characters, expected at most {LONGEST:,}"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    parts = node.value if isinstance(node, yaml.CollectionNode) else ()
    for part in parts:
        for inner in part if isinstance(part, tuple) else (part,):
            count += _written_out(inner, most, known)
    if count > most:
        problem = f"aliases that make more than {most:,} values of {most // EXPANSION:,} characters"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    known[id(node)] = count
    return count


def read(file: Path) -> dict[str, Any]:
    """A config file. Raises InputError, with the line, where it is missing, not YAML, no mapping, repeats a key, or
    becomes huge: aliases of aliases, and merges of merges, double with every line."""
    try:
        if file.stat().st_size > LARGEST:
            raise ValueError(f"larger than {LARGEST:,} bytes")
        text = file.read_text(encoding="utf-8")
        loader = _Strict(text)
        root = loader.get_single_node()
        _written_out(root, EXPANSION * len(text), {})
        found = None if root is None else loader.construct_document(root)
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
