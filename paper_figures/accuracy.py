"""The main figure: accuracy by iteration and by sub-category, and the LMM's own score against the oracle's.

    python paper_figures/accuracy.py --summary results/summary.csv --gains results/gains.csv \\
        --out results/figures/accuracy_discrete

writes accuracy_discrete.png, .pdf, and .csv with every number drawn, as `silmm figure` does; here the sampler is free,
too. What the panels show is told in `silmm.report.accuracy`, which draws them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from silmm.arms import LMMS
from silmm.errors import InputError
from silmm.report.accuracy import run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--summary", type=Path, required=True, help="summary.csv of silmm summarize")
    parser.add_argument("--gains", type=Path, required=True, help="gains.csv of silmm summarize")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .png, .pdf and .csv are written")
    parser.add_argument("--lmm", default=LMMS[0], help=f"which LMM (default: {LMMS[0]})")
    parser.add_argument("--sampler", help="which sampler (default: t1.0, or fresh_noise of a continuous LMM)")
    try:
        run(**vars(parser.parse_args()))
    except InputError as error:
        sys.exit(f"accuracy: error: {error}")
