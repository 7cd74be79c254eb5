"""What can happen to a file between two stages, by name: each damage changes the file or folder at a path."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import load_file, save_file

Damage = Callable[[Path], None]


def png() -> bytes:
    """A picture, where something else should be."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def missing(path: Path) -> None:
    """Nothing is there."""
    path.unlink()


def folder(path: Path) -> None:
    """A folder in place of the file."""
    path.unlink()
    path.mkdir()


def bytes_of(change: Callable[[bytes], bytes]) -> Damage:
    """Other bytes."""
    return lambda path: path.write_bytes(change(path.read_bytes())) and None


ANY: dict[str, Damage] = {
    "missing": missing,
    "folder": folder,
    "empty": lambda path: path.write_bytes(b"") and None,
    "cut": bytes_of(lambda content: content[: len(content) // 2]),
    "last_byte_lost": bytes_of(lambda content: content[:-1]),
    "random": bytes_of(lambda content: np.random.default_rng(0).bytes(len(content))),
    "png": lambda path: path.write_bytes(png()) and None,
    "zeros": bytes_of(lambda content: bytes(len(content))),
}


def line(change: Callable[[dict[str, Any]], Any]) -> Damage:
    """The second line of a JSON lines file changed, as a value."""

    def damage(path: Path) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[1] = json.dumps(change(json.loads(lines[1])))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return damage


def raw(change: Callable[[bytes], bytes]) -> Damage:
    """The second line of a JSON lines file changed, as bytes."""

    def damage(path: Path) -> None:
        lines = path.read_bytes().split(b"\n")
        lines[1] = change(lines[1])
        path.write_bytes(b"\n".join(lines))

    return damage


def _first(row: dict[str, Any]) -> str:
    return next(iter(row))


LINES: dict[str, Damage] = {
    "field_missing": line(lambda row: {k: v for k, v in row.items() if k != _first(row)}),
    "field_extra": line(lambda row: row | {"score": 0.5}),
    "field_extra_long": line(lambda row: row | {"x" * 10_000: 0.5}),
    "field_of_another_type": line(lambda row: row | {_first(row): 7}),
    "id_leads_out": line(lambda row: row | {_first(row): "../../x"}),
    "id_is_a_dot": line(lambda row: row | {_first(row): "."}),
    "id_with_a_line_break": line(lambda row: row | {_first(row): "p\n1"}),
    "id_with_a_null": line(lambda row: row | {_first(row): "p\x001"}),
    "id_too_long": line(lambda row: row | {_first(row): "p" * 10_000}),
    "id_in_unicode": line(lambda row: row | {_first(row): "ｐ1"}),
    "a_list": line(lambda row: [row]),
    "null": line(lambda row: None),
    "surrogate": line(lambda row: row | {_first(row): "\ud800"}),
    "twice": bytes_of(lambda content: content + content.split(b"\n")[0] + b"\n"),
    "key_twice": raw(lambda text: b'{"id": "q", ' + text[1:] if b'"id"' in text[:6] else b'{"units": [], ' + text[1:]),
    "not_a_number": raw(lambda text: text[:-1] + b', "x": NaN}'),
    "deep": raw(lambda text: b"[" * 100_000),
    "deep_and_closed": raw(lambda text: b'{"a":' * 5_000 + b"1" + b"}" * 5_000),
    "huge_number": raw(lambda text: b"9" * 5_000),
    "not_utf8": raw(lambda text: text.replace(b'"', b'"\xff\xfe', 1)),
    "latin1": raw(lambda text: text[:-1] + b', "\xe9": 1}'),
    "mark_of_byte_order": bytes_of(lambda content: b"\xef\xbb\xbf" + content),
    "blank_line": bytes_of(lambda content: content + b"\n"),
    "utf16": bytes_of(lambda content: content.decode().encode("utf-16")),
}


def table(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """A parquet file with another table."""
    return lambda path: pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def column(name: str, value: Any, kind: Any = None) -> Damage:
    """A parquet file with another value in the first row of a column, or another type of all of it."""

    def change(rows: pa.Table) -> pa.Table:
        values = rows[name].to_pylist()
        values[0] = value
        place, field = rows.column_names.index(name), rows.schema.field(name)
        return rows.set_column(place, name, pa.array(values, kind or field.type))

    return table(change)


TABLES: dict[str, Damage] = {
    "column_missing": table(lambda rows: rows.drop_columns([rows.column_names[-1]])),
    "column_extra": table(lambda rows: rows.append_column("x", pa.array([0] * rows.num_rows))),
    "column_extra_long": table(lambda rows: rows.append_column("x" * 10_000, pa.array([0] * rows.num_rows))),
    "columns_in_another_order": table(lambda rows: rows.select(rows.column_names[::-1])),
    "column_of_another_type": table(
        lambda rows: rows.set_column(1, rows.column_names[1], rows[rows.column_names[1]].cast(pa.float64()))
    ),
    "rows_twice": table(lambda rows: pa.concat_tables([rows, rows])),
    "id_leads_out": column("prompt_id", "../../x"),
    "id_is_a_dot": column("prompt_id", "."),
    "id_with_a_line_break": column("prompt_id", "p\n1"),
    "id_too_long": column("prompt_id", "p" * 10_000),
    "another_prompt_s": column("prompt_id", "p99999"),
    "value_missing": column("prompt_id", None),
    "not_utf8": column("prompt_id", b"\xff\xfe", pa.binary()),
    "a_table_of_lists": table(lambda rows: pa.table({name: [[1]] * rows.num_rows for name in rows.column_names})),
}


def invalid_text(path: Path) -> None:
    """A column of texts with bytes that are no UTF-8, in a file that says they are."""
    rows = pq.read_table(path, partitioning=None)
    raw_bytes = pa.array([b"\xff\xfe"] * rows.num_rows, pa.binary())
    texts = pa.Array.from_buffers(pa.string(), rows.num_rows, raw_bytes.buffers())
    pq.write_table(rows.set_column(0, rows.column_names[0], texts), path, store_schema=False)


TABLES["invalid_text"] = invalid_text


def tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Damage:
    """A safetensors file with other tensors."""
    return lambda path: save_file(change(load_file(str(path))), str(path))


ARRAYS: dict[str, Damage] = {
    "no_such_array": tensors(lambda made: {"x": next(iter(made.values()))}),
    "no_array_at_all": tensors(lambda made: {}),
    "a_row_lost": tensors(lambda made: {name: array[:-1] for name, array in made.items()}),
    "an_axis_lost": tensors(lambda made: {name: array[..., 0].copy() for name, array in made.items()}),
    "not_finite": tensors(lambda made: {name: np.full(array.shape, np.nan, "f4") for name, array in made.items()}),
    "of_texts": tensors(lambda made: {name: array.astype(bool) for name, array in made.items()}),
}
