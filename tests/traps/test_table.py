"""The table of traps names tests that exist, and every test of this folder stands in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ROWS = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| ")][1:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def names_in(path: Path) -> set[str]:
    """Names of the tests that a file defines."""
    nodes = ast.parse(path.read_text()).body
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_the_table_names_tests_that_exist() -> None:
    assert len(ROWS) == 15
    for row in ROWS:
        named = NAMED.findall(row)
        assert named, f"no test in: {row}"
        for file, name in named:
            assert name in names_in(ROOT / file), f"{file} has no {name}"


def test_every_trap_of_this_folder_is_in_the_table() -> None:
    named = set(NAMED.findall("\n".join(ROWS)))
    for path in sorted(HERE.glob("test_*.py")):
        if path.name != Path(__file__).name:
            assert {(path.relative_to(ROOT).as_posix(), name) for name in names_in(path)} <= named
