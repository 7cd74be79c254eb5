"""Which source files a stage uses, and one hash over them.

Snakemake does not see edits inside a package, so every rule carries this hash as a parameter: editing
`align/losses.py` re-runs alignment and what follows, and nothing before it. The files are found by following the
import statements, lazy ones included. Settings are left out: their values reach the rule as options.

Sources of one LMM family, or of one public benchmark, count for that one alone: name it, and modules that are only of
others (`ALONE`) are not followed. A kernel's sources, C++ and CUDA included, count for what imports that kernel.
"""

from __future__ import annotations

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parents[1]
KERNELS = "silmm.kernels"
_CPP = {".cpp", ".h", ".hpp", ".cu", ".cuh"}

SHAPEWORLD = frozenset({"discrete", "continuous"})
PRETRAINED = frozenset({"dreamllm", "emu3", "janus", "seed_llama"})
BENCHMARKS = frozenset({"t2i_compbench++", "dpg_bench", "dpg_bench_1", "geneval2", "tifa", "geneval", "dsg_1k"})
_CONTINUOUS = frozenset({"continuous"})
ALONE: dict[str, frozenset[str]] = {  # module, with all in it: whose it is; the longest name decides
    "silmm.lmm.shapeworld": SHAPEWORLD,
    "silmm.lmm.shapeworld.checkpoint_continuous": _CONTINUOUS,
    "silmm.lmm.shapeworld.continuous": _CONTINUOUS,
    "silmm.lmm.shapeworld.dream": _CONTINUOUS,
    "silmm.lmm.shapeworld.feature_range": _CONTINUOUS,
    "silmm.lmm.shapeworld.flow": _CONTINUOUS,
    "silmm.lmm.shapeworld.pretrain_continuous": _CONTINUOUS,
    "silmm.lmm.hf": PRETRAINED,
    "silmm.open_language": PRETRAINED,
    **{f"silmm.lmm.{family}": frozenset({family}) for family in PRETRAINED},
    "silmm.benchmarks.dpg": frozenset({"dpg_bench", "dpg_bench_1", "dsg_1k"}),
    "silmm.benchmarks.dpg.dsg": frozenset({"dsg_1k"}),
    "silmm.benchmarks.dpg.single": frozenset({"dpg_bench_1"}),
    "silmm.benchmarks.geneval": frozenset({"geneval"}),
    "silmm.benchmarks.geneval2": frozenset({"geneval2"}),
    "silmm.benchmarks.t2i_compbench": frozenset({"t2i_compbench++"}),
    "silmm.benchmarks.tifa": frozenset({"tifa"}),
}


@cache
def source_hash(module: str, *of: str) -> str:
    """A hash over the sources that `silmm.<module>` uses, itself included, e.g. `source_hash("stages.align", "janus")`.

    `of`: the LMM (as a config names it) or the public benchmark that it is used for; without, all of them count.
    """
    digest = hashlib.sha256()
    for path in source_files(module, *of):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def source_files(module: str, *of: str) -> list[Path]:
    """The files that `silmm.<module>` uses for `of`, directly or not, sorted; for a name that is not known here, those
    of all. Raises FileNotFoundError if there is no such module."""
    found: set[Path] = set()
    todo = _files(f"silmm.{module}")
    stem = PACKAGE.joinpath(*module.split("."))
    if not todo & {stem.with_suffix(".py"), stem / "__init__.py"}:
        raise FileNotFoundError(f"no module silmm.{module} in {PACKAGE}")
    while todo:
        path = todo.pop()
        found.add(path)
        todo |= {file for name in _imports(path) if _counts(name, of) for file in _files(name)} - found
    return sorted(found.union(*(_compiled(path.stem) for path in found if path.parent == PACKAGE / "kernels")))


def _counts(name: str, of: tuple[str, ...]) -> bool:
    """Whether a module counts for these: it is nobody's alone, or theirs, or nobody of its kind is named."""
    owners = [ALONE[whole] for whole in ALONE if f"{name}.".startswith(f"{whole}.")]
    if not owners:
        return True
    owner = min(owners, key=len)
    kind = BENCHMARKS if owner <= BENCHMARKS else SHAPEWORLD | PRETRAINED
    named = kind.intersection(of)
    return not named or bool(named & owner)


def _files(name: str) -> set[Path]:
    """The file of the module `name`, and those of the packages around it; settings and the root have no say."""
    parts = name.split(".")[1:]
    files = {PACKAGE.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1)}
    if parts and parts != ["settings"]:
        files.add(PACKAGE.joinpath(*parts).with_suffix(".py"))
    if name == KERNELS:  # all of them, as whoever names the package may call any
        files |= set((PACKAGE / "kernels").glob("*.py"))
    return {file for file in files if file.is_file()}


@cache
def _imports(path: Path) -> set[str]:
    """Names of modules of the package that a file imports: of `from a import b`, a.b where that is a module, else a.

    The package of kernels imports all of them to offer them by name; that concerns those who call one by that name.
    """
    if path == PACKAGE / "kernels" / "__init__.py":
        return set()
    package = ("silmm", *path.relative_to(PACKAGE).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else ())))
            inner = [f"{module}.{alias.name}" for alias in node.names]
            names |= {name if _is_module(name) else module for name in inner}
    return {name for name in names if name.startswith("silmm.")}


def _is_module(name: str) -> bool:
    stem = PACKAGE.joinpath(*name.split(".")[1:])
    return name.startswith("silmm.") and (stem.with_suffix(".py").is_file() or (stem / "__init__.py").is_file())


def _compiled(op: str) -> set[Path]:
    """C++ and CUDA sources of a kernel: its own, what registers it, and the headers that these include; none of a
    module that has no compiled part."""
    own = {path for path in (ROOT / "csrc").rglob("*") if path.suffix in _CPP and path.stem in (op, f"bind_{op}")}
    if not own:
        return set()
    todo = own | set((ROOT / "csrc").rglob("module.cpp"))
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        found.add(path)
        included = re.findall(r'^\s*#include "([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
        todo |= {file for name in included if (file := (path.parent / name).resolve()).is_file()} - found
    return found
