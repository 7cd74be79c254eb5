"""What the scripts share that draw from a table of their own, and not from summary.csv and gains.csv."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common import drawing

GROUPS = {"attribute": "Attribute", "layout": "Layout", "non_spatial_complex": "Non-spatial & Complex"}


def main(draw: Callable[..., None], doc: str | None, options: Mapping[str, Mapping[str, Any]]) -> None:
    """A script's command line: `draw` gets the options by name, and as `out` the path to write to, without suffix."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, spec in options.items():
        parser.add_argument(f"--{name}", required=True, **spec)
    parser.add_argument("--out", type=Path, required=True, help="picture to write; .png, .pdf and .csv go beside it")
    given = vars(parser.parse_args())
    with drawing():
        draw(**given | {"out": given["out"].with_suffix("")})
