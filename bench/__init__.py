"""Benchmarks: what takes how long, beside the plain way to do it and beside what the machine can do.

They run from a checkout, installed or not: this puts its `src` on the path.
"""

import sys
from pathlib import Path

SOURCE = str(Path(__file__).resolve().parents[1] / "src")
if SOURCE not in sys.path:
    sys.path.insert(0, SOURCE)
