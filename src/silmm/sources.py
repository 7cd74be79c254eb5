"""Which source files a stage uses, and one hash over them.

Snakemake does not see edits inside a package, so every rule carries this hash as a parameter: editing
`align/losses.py` re-runs alignment and what follows, and nothing before it. The files are found by following the
import statements, lazy ones included. Settings are left out: their values reach the rule as options.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parents[1]
_CPP = {".cpp", ".h", ".hpp", ".cu", ".cuh"}


@cache
def source_hash(module: str) -> str:
    """A hash over the sources that `silmm.<module>` uses, itself included, e.g. `source_hash("stages.align")`."""
    digest = hashlib.sha256()
    for path in source_files(module):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def source_files(module: str) -> list[Path]:
    """The files that `silmm.<module>` uses, directly or not, sorted; FileNotFoundError if there is no such module.

    A module of `kernels` brings the C++ sources with it.
    """
    found: set[Path] = set()
    todo = _files(f"silmm.{module}")
    stem = PACKAGE.joinpath(*module.split("."))
    if not todo & {stem.with_suffix(".py"), stem / "__init__.py"}:
        raise FileNotFoundError(f"no module silmm.{module} in {PACKAGE}")
    while todo:
        path = todo.pop()
        found.add(path)
        todo |= {file for name in _imports(path) for file in _files(name)} - found
    if any(path.is_relative_to(PACKAGE / "kernels") for path in found):
        found |= {path for path in (ROOT / "csrc").rglob("*") if path.suffix in _CPP}
    return sorted(found)


def _files(name: str) -> set[Path]:
    """The file of the module `name`, and those of the packages around it; settings and the root have no say."""
    parts = name.split(".")[1:]
    files = {PACKAGE.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)}
    if parts and parts != ["settings"]:
        files.add(PACKAGE.joinpath(*parts).with_suffix(".py"))
    return {file for file in files if file.is_file()}


@cache
def _imports(path: Path) -> set[str]:
    """Names that may be modules of the package among those that a file imports (`from a import b` gives a and a.b)."""
    package = ("silmm", *path.relative_to(PACKAGE).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else ())))
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith("silmm.")}
