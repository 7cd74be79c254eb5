"""What the scripts about a run's own iterations share: their command line, and the order of their columns."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from common import drawing

from silmm.cli_options import entry
from silmm.report.entries import Step


def main(draw: Callable[[list[Step], Path], None], doc: str | None) -> None:
    """A script's command line: `draw` gets the iterations and the path to write to, without suffix."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    text = "lmm=L,arm=A,seed=S,iteration=T,dir=D: one iteration and its folder; give one each"
    parser.add_argument("--entry", type=entry, action="append", required=True, metavar="ENTRY", help=text)
    parser.add_argument("--out", type=Path, required=True, help="picture to write; .png, .pdf, .csv and .tex")
    args = parser.parse_args()
    with drawing():
        draw([Step(**one) for one in args.entry], args.out.with_suffix(""))


def columns(data: pd.DataFrame) -> list[tuple[str, int]]:
    """(lmm, iteration) in the order given."""
    return list(dict.fromkeys(zip(data.lmm, data.iteration, strict=True)))
