"""Running Snakemake on this checkout, or on a copy of it whose stages only write small files."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Snakemake = Callable[..., "subprocess.CompletedProcess[str]"]

# Stands in for every stage: the same inputs and settings give the same small outputs.
STUB = """
import hashlib
from pathlib import Path
from silmm.records import SCORES, atomic_dir, atomic_file, write_table

BESIDE = ("stats", "state", "tensorboard", "avoid")  # no inputs that count; all but the first no outputs either

def run(settings=None, *, out, **given):
    text = str(settings)
    for name, value in sorted(given.items()):
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Path) and name not in BESIDE:
                item = (item / "content" if item.is_dir() else item).read_bytes()
                item = hashlib.sha256(item).hexdigest()
            text += f" {name}={'-' if name in BESIDE[1:] else item.name if isinstance(item, Path) else item}"
    if "stats" in given:
        with atomic_file(given["stats"]) as temporary:
            temporary.write_text("stats " + text)
    if out.parent.name == "scores":
        digest = hashlib.sha256(text.encode()).hexdigest()
        keys = {"prompt_id": ["p" + out.stem], "sample": [0], "question_id": [digest]}
        write_table(out, {**keys, "p_yes": [1.0], "p_no": [0.0]}, SCORES)
    elif out.suffix:
        for suffix in (".png", ".pdf", ".csv") if "divdrop_grid" in __name__ else (out.suffix,):
            with atomic_file(out.with_suffix(suffix)) as temporary:
                temporary.write_text(text)
    else:
        with atomic_dir(out, "silmm " + Path(__file__).stem.replace("_", "-")) as temporary:
            (temporary / "content").write_text(text)
"""
STUB_REPORT = """
from pathlib import Path

def run(*arguments, lmm=None):
    files = [Path(a) for a in arguments[1:]] if "summarize" in __name__ else []
    files = files or [Path(arguments[-1]).with_suffix(s) for s in (".png", ".pdf", ".csv")]
    for path in files:
        path.write_text("")
"""


def run_snakemake(checkout: Path, directory: Path, *words: str, env: dict[str, str] | None = None, check: bool = True):  # type: ignore[no-untyped-def]
    """`snakemake` of a checkout, working in `directory`; its output is shown when it fails against expectation."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile")]
    done = subprocess.run(
        [*command, "--directory", str(directory), *words],
        cwd=checkout,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(env or {})},
    )
    assert not check or done.returncode == 0, done.stdout
    return done


def jobs(output: str) -> dict[str, int]:
    """The job counts that a dry run prints, {} when there is nothing to do."""
    table = re.search(r"^Job stats:\n.*\n-+ +-+\n((?:\S+ +\d+\n)+)", output, flags=re.MULTILINE)
    rows = [line.split() for line in table[1].splitlines()] if table else []
    return {name: int(count) for name, count in rows if name != "total"}


def contract_files(results: Path) -> dict[str, str]:
    """{path: hash} of every file of the byte contract: logs, times, curves and resumable state are left out."""
    left_out = {"logs", "benchmarks", "tensorboard", "state"}
    files = [p for p in sorted(results.rglob("*")) if p.is_file() and p.name != ".snakemake_timestamp"]
    return {
        path.relative_to(results).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not left_out & set(path.relative_to(results).parts)
    }


@pytest.fixture
def snakemake(tmp_path: Path) -> Snakemake:
    """Run Snakemake on this checkout in an empty folder."""
    return lambda *words, **options: run_snakemake(ROOT, tmp_path, *words, **options)


def stub_checkout(folder: Path) -> Path:
    """A copy of the checkout whose stages stand in for the real ones, but import (as far as is seen) the same."""
    shutil.copytree(ROOT / "workflow", folder / "workflow")
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info"))
    shutil.copytree(ROOT / "csrc", folder / "csrc")
    (folder / "envs").mkdir()
    shutil.copy(ROOT / "envs" / "silmm.yaml", folder / "envs")
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "profiles").symlink_to("workflow/profiles")
    package = folder / "src" / "silmm"
    for path in [
        *(package / "stages").glob("*.py"),
        package / "report" / "summarize.py",
        package / "report" / "accuracy.py",
        package / "report" / "kc_dpo_curves.py",
    ]:
        path.write_text(_stubbed(path))
    return folder


def _stubbed(path: Path) -> str:
    nodes = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import | ast.ImportFrom)]
    lines = [ast.unparse(n) for n in nodes if not (isinstance(n, ast.ImportFrom) and n.module == "__future__")]
    body = "".join(f"    {line}\n" for line in lines)
    return (STUB_REPORT if path.parent.name == "report" else STUB) + f"\ndef never_called():\n    pass\n{body}"
