"""What the scripts share that draw from a table of their own, and not from summary.csv and gains.csv."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from silmm.errors import InputError
from silmm.report.style import STYLE

GROUPS = {"attribute": "Attribute", "layout": "Layout", "non_spatial_complex": "Non-spatial & Complex"}


def main(draw: Callable[..., None], doc: str | None, options: Mapping[str, Mapping[str, Any]]) -> None:
    """A script's command line: `draw` gets the options by name, and as `out` the path to write to, without suffix."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, spec in options.items():
        parser.add_argument(f"--{name}", required=True, **spec)
    parser.add_argument("--out", type=Path, required=True, help="picture to write; .png, .pdf and .csv go beside it")
    given = vars(parser.parse_args())
    try:
        with plt.rc_context(STYLE):
            draw(**given | {"out": given["out"].with_suffix("")})
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: error: {error}")
