"""How figures look, and how they are written: the same bytes on every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import pandas as pd

from silmm.atomic import atomic_file
from silmm.csv_files import write_frame

GREY, INK = "#888888", "#222222"
STYLE = {
    **{"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.edgecolor": GREY, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "text.color": INK},
    **{"axes.titlesize": 10, "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlepad": 12},
    **{"pdf.fonttype": 42, "xtick.major.size": 3, "ytick.major.size": 3, "savefig.dpi": 160},
}


def save(figure: Any, data: pd.DataFrame, out: Path) -> None:
    """PNG and PDF without time stamps or version numbers, and the numbers behind them."""
    empty = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None, "Creator": None}}
    for suffix, metadata in empty.items():
        with atomic_file(out.with_name(f"{out.name}.{suffix}")) as temporary:
            figure.savefig(temporary, format=suffix, metadata=metadata)
    with atomic_file(out.with_name(f"{out.name}.csv")) as temporary:
        write_frame(data, temporary)
