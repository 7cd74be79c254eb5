"""The quality gates of `make lint`, one test each."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
GATES = RECIPE[1].split("\n\t") if RECIPE else []


@pytest.mark.parametrize("command", [line.strip() for line in GATES])
def test_gate(command: str) -> None:
    """As `make lint` has it."""
    program = [sys.executable, "-m", *command.split()]
    done = subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def test_every_gate_is_there() -> None:
    names = [" ".join(line.split()[:2]) for line in GATES]
    assert names == ["ruff check", "ruff format", "mypy src", "snakefmt --check", "snakemake --lint"]
