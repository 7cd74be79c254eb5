"""A script of paper_figures/, run as a program in this process."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "paper_figures"


def run_program(name: str, words: Iterable[object]) -> None:
    """As the command line starts it; its SystemExit is the caller's to catch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        patch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
        try:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        finally:
            plt.close("all")  # of a script that stopped half way


def complaint(name: str, words: Iterable[object]) -> str:
    """The line on stderr with which the script ends, if it fails."""
    try:
        run_program(name, words)
    except SystemExit as stop:
        return str(stop.code)
    return ""
