"""How figures look, and how they are written: the same bytes on every run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import pandas as pd

from silmm.atomic import atomic_file
from silmm.csv_files import write_frame
from silmm.outputs import FIGURE, PDF, PNG, SOFTWARE, Kind, check_file

GREY, INK = "#888888", "#222222"
STYLE = {
    **{"font.family": "DejaVu Sans", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.edgecolor": GREY, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "text.color": INK},
    **{"axes.titlesize": 10, "axes.titlelocation": "left", "axes.titleweight": "bold", "axes.titlepad": 12},
    **{"pdf.fonttype": 42, "xtick.major.size": 3, "ytick.major.size": 3, "savefig.dpi": 160},
}


def save(figure: Any, data: pd.DataFrame, out: Path) -> None:
    """PNG and PDF without time stamps or version numbers, and the numbers behind them.

    Raises InputError where something else is under one of these names: nothing is written then.
    """
    png, pdf, numbers = (out.with_name(f"{out.name}{suffix}") for suffix in FIGURE)
    kinds: dict[Path, Kind] = {png: PNG, pdf: PDF, numbers: tuple(map(str, data.columns))}
    for path, kind in kinds.items():
        check_file(path, kind)
    says: dict[Path, dict[str, str | None]] = {
        png: {"Software": SOFTWARE}, pdf: {"Creator": SOFTWARE, "CreationDate": None, "Producer": None}
    }  # fmt: skip
    for path, metadata in says.items():
        with atomic_file(path, kinds[path]) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    data = data.assign(**{name: data[name] + 0.0 for name in data.select_dtypes("float")})  # no "-0"
    with atomic_file(numbers, kinds[numbers]) as temporary:
        write_frame(data, temporary)
