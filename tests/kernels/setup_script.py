"""setup.py as a module: its functions and flags, without setting anything up."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[2]


def setup_script() -> dict[str, Any]:
    """The names that setup.py defines."""
    with mock.patch("setuptools.setup"), mock.patch("os.getcwd", return_value=str(ROOT)):
        return runpy.run_path(str(ROOT / "setup.py"), run_name="setup_script")
