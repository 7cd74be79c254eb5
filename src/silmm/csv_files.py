"""CSV files whose texts come from elsewhere (names of categories, judges, arms): a spreadsheet shows them and computes
nothing.

A text that a spreadsheet would take for a formula, as `=HYPERLINK(..)`, stands behind an apostrophe, and so does one
that looks like such a cell already; the readers here take it away again.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_BREAK = "\r\n"  # Python quotes cells with what ends its lines
_COMPUTED = re.compile(r"'*\s*[=+\-@\t\r\uff1d\uff0b\uff0d\uff20].", re.DOTALL)  # the last four are full-width
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def quoted(value: Any) -> Any:
    """A text as a cell that is shown as it is; anything else as it came."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) or not _COMPUTED.match(value):
        return value
    return f"'{value}"


def unquoted(cell: Any) -> Any:
    """The value of a cell that `quoted` made."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _COMPUTED.match(cell) else cell


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], digits: str) -> str:
    """The text of a CSV file. digits: of floats, as `.4f`; nan is an empty cell, no zero is negative."""

    def cell(value: Any) -> Any:
        if not isinstance(value, float):
            return quoted(value)
        text = f"{value:{digits}}"
        return "" if math.isnan(value) else text if float(text) else f"{0.0:{digits}}"

    return "".join(map(_line, [columns, *([cell(value) for value in row] for row in rows)]))


def write_frame(data: pd.DataFrame, path: Path) -> None:
    """Write a data frame: floats with six significant digits, nothing for nan."""
    text = data.to_csv(index=False, float_format="%.6g", lineterminator=_BREAK)
    columns, *rows = csv.reader(io.StringIO(text, newline=""))
    path.write_text(to_csv(columns, rows, ".6g"), encoding="utf-8", newline="")


def _line(row: Sequence[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=_BREAK).writerow(row)
    return text.getvalue().removesuffix(_BREAK) + "\n"


def read_texts(path: Path) -> pd.DataFrame:
    """The cells of a CSV file of these writers, all as texts. Raises ValueError or OverflowError where it is none."""
    import pandas as pd

    return pd.read_csv(path, dtype=str, keep_default_na=False).map(unquoted)
