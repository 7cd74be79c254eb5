"""The files that pass between the stages: their schemas, atomic writing and checked reading.

A file that is missing, cut short, or holds something else than its schema says raises `RecordError` with one
line that names the file and what is wrong with it. The same rows give the same bytes: keys in the order of the
schema, fixed compression, no time stamps. pyarrow is imported when a table is touched, not with this module.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from silmm.atomic import atomic_dir, atomic_file
from silmm.errors import InputError, RecordError
from silmm.schemas import (
    AUDIT,
    BENCHMARK,
    DIVERSITY,
    EVAL,
    INDEX,
    PAIRS,
    SCORES,
    AlignStats,
    EvalStats,
    Metric,
    PairStats,
    Prompt,
    PromptQuestions,
    PromptStats,
    Question,
    QuestionStats,
    Table,
)
from silmm.typed_json import is_text, one_of, parse, short

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EVAL", "INDEX", "PAIRS", "SCORES", "EvalStats", "InputError", "Metric", "Prompt", "PromptQuestions"]
__all__ += ["PromptStats", "Question", "RecordError", "Table", "atomic_dir", "atomic_file", "gather", "read_json"]
__all__ += ["AlignStats", "PairStats", "QuestionStats", "read_jsonl", "read_table", "write_json", "write_jsonl"]
__all__ += ["AUDIT", "BENCHMARK", "DIVERSITY", "write_table"]

Row = TypeVar("Row")
RATIO, SMALL = 100, 2**26  # a table may take so many times the size of its file, or so many bytes
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # prompt ids are parts of file names, which end at 255
_AN_ID = "expected an id: at most 100 letters, digits, '.', '_' and '-', the first a letter or a digit"


def write_table(path: Path, columns: Mapping[str, Any] | pa.Table, schema: Table) -> None:
    """Write columns (lists or one-dimensional arrays) as parquet; RecordError when they break the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(columns, pa.Table):
        if missing := set(schema.columns) ^ set(columns):
            raise RecordError(f"{path}: columns {', '.join(sorted(missing))} are missing or unknown")
        try:
            arrays = [pa.array(columns[name], type=_arrow(kind)) for name, kind in schema.columns.items()]
            columns = pa.table(arrays, names=list(schema.columns))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise RecordError(f"{path}: {_line(error)}") from error
    _check_table(path, columns, schema, hint="")
    with atomic_file(path, schema) as temporary:
        pq.write_table(columns, temporary, compression="zstd", store_schema=False)


def read_table(path: Path, schema: Table) -> pa.Table:
    """The checked table; RecordError when the file is missing, damaged, breaks the schema, or would be huge in memory:
    at most RATIO times the file's size, or SMALL bytes, by what its footer says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    hint = _hint(schema.stage)
    _refuse_no_file(path, schema.stage)
    try:
        _check_size(path)
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)  # texts are UTF-8
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not a readable parquet file ({_line(error)}){hint}") from error
    _check_table(path, table, schema, hint)
    return table


def _check_size(path: Path) -> None:
    """ValueError where a parquet file would take too much memory: pages are compressed, a million equal values take a
    few bytes, and a long text may be there once and in every row."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    footer, size = pq.read_metadata(path), path.stat().st_size
    columns = [footer.schema.column(i) for i in range(footer.num_columns)]
    if any(column.max_repetition_level for column in columns):
        raise ValueError("columns of lists, which silmm never writes")
    # A row group's columns are never asked: pyarrow ends the process where what they say is damaged.
    unpacked = sum(footer.row_group(i).total_byte_size for i in range(footer.num_row_groups))
    values = footer.num_rows * footer.num_columns
    most = max(SMALL, RATIO * size)
    if max(unpacked, 8 * values) > most:
        found = f"{size:,} bytes that become {max(unpacked, 8 * values):,} in memory"
        raise ValueError(f"{found}: expected at most {most:,}")
    texts = [column.name for column in columns if column.physical_type == "BYTE_ARRAY"]
    if texts and footer.num_rows * unpacked > most:  # the longest that they could be: so how long are they?
        table = pq.read_table(path, columns=texts, read_dictionary=texts, partitioning=None)
        total = 0
        for column in table.columns:
            for chunk in column.chunks:
                lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
                total += pc.sum(lengths.cast("int64")).as_py() or 0
        if total > most:
            raise ValueError(f"{size:,} bytes that become {total:,} of text: expected at most {most:,}")


def gather(shards: Sequence[Path], out: Path, schema: Table = SCORES) -> None:
    """Join the shards of a table, in the order of its key, whatever the shards; a row that two shards hold is an
    error."""
    import pyarrow as pa

    table = pa.concat_tables([read_table(shard, schema) for shard in shards])
    write_table(out, table.sort_by([(name, "ascending") for name in schema.key]).combine_chunks(), schema)


def _check_table(path: Path, table: pa.Table, schema: Table, hint: str) -> None:
    import pyarrow.compute as pc

    if table.column_names != list(schema.columns):
        raise RecordError(
            f"{path}: columns are {_listed(table.column_names)}: expected {', '.join(schema.columns)}{hint}"
        )
    for name, kind in schema.columns.items():
        column = table[name]
        if column.type != _arrow(kind):
            raise RecordError(f"{path}: column '{name}' is {column.type}: expected {kind}{hint}")
        if column.null_count and name not in schema.optional:
            raise RecordError(f"{path}: column '{name}' has {column.null_count} missing values{hint}")
        finite = pc.all(pc.is_finite(column.drop_null()), min_count=0) if kind.startswith("float") else None
        if finite is not None and not finite.as_py():
            raise RecordError(f"{path}: column '{name}' has values that are not finite{hint}")
    for name in schema.probabilities if table.num_rows else ():
        low, high = (pc.min_max(table[name])[end].as_py() for end in ("min", "max"))
        if low < 0 or high > 1:
            raise RecordError(f"{path}: column '{name}' spans {low:g} to {high:g}: expected probabilities{hint}")
    for name, allowed in schema.choices.items():
        if unknown := sorted(set(table[name].unique().to_pylist()) - set(allowed)):
            raise RecordError(f"{path}: column '{name}' has {short(unknown[0])}: {one_of(allowed)}{hint}")
    for name in schema.ids:
        if strange := [value for value in table[name].unique().to_pylist() if not _ID.fullmatch(value)]:
            raise RecordError(f"{path}: column '{name}' has {short(strange[0])}: {_AN_ID}{hint}")
    counts = table.group_by(list(schema.key)).aggregate([([], "count_all")])
    if counts.num_rows != table.num_rows:
        twice = counts.filter(pc.greater(counts["count_all"], 1)).to_pylist()[0]
        raise RecordError(f"{path}: duplicate row {', '.join(f'{k}={_cut(twice[k])}' for k in schema.key)}{hint}")


def _arrow(kind: str) -> pa.DataType:
    import pyarrow as pa

    return pa.bool_() if kind == "bool" else getattr(pa, kind)()


# --- JSON lines and JSON ------------------------------------------------------------------------------------------


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclass rows, one a line, keys in the order of the fields; RecordError when a row breaks its schema."""
    rows = list(rows)
    _check_rows(path, rows, "")
    lines = [json.dumps(dataclasses.asdict(row), ensure_ascii=False, allow_nan=False) for row in rows]
    for number, line in enumerate(lines, 1):
        if not is_text(line):
            raise RecordError(f"{path}:{number}: holds half of a surrogate pair, which is no character of UTF-8")
    with (
        atomic_file(path, type(rows[0]) if rows else None) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as stream,
    ):
        stream.writelines(line + "\n" for line in lines)


def read_jsonl(path: Path, kind: type[Row]) -> list[Row]:
    """The checked rows of a JSON lines file as `kind` (Prompt, PromptQuestions)."""
    stage = kind.STAGE  # type: ignore[attr-defined]
    hint = _hint(stage)
    rows: list[Row] = []
    for number, line in enumerate(_text(path, stage).split("\n")[:-1], 1):
        rows.append(typing.cast(Row, _parse(line, kind, f"{path}:{number}", hint)))
    if not rows:
        raise RecordError(f"{path}: empty, expected a line of JSON for each prompt{hint}")
    _check_rows(path, rows, hint)
    return rows


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file with sorted keys; dataclasses and numpy scalars become plain values, NaN is refused."""
    try:
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError as error:
        raise RecordError(f"{path}: not written: {error}") from None
    kind = type(value) if dataclasses.is_dataclass(value) else None
    with atomic_file(path, kind) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[Row]) -> Row:
    """The checked content of a JSON file as `kind` (PromptStats, EvalStats); keys beyond its fields are ignored."""
    stage = kind.STAGE  # type: ignore[attr-defined]
    return typing.cast(Row, _parse(_text(path, stage), kind, str(path), _hint(stage), extra=True))


def _text(path: Path, stage: str) -> str:
    _refuse_no_file(path, stage)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: not UTF-8 text ({error}){_hint(stage)}") from error
    if text and not text.endswith("\n"):
        raise RecordError(f"{path}: cut short, the last line has no end{_hint(stage)}")
    return text


def _refuse_no_file(path: Path, stage: str) -> None:
    if not Path(path).is_file():
        what = "not a file, but a folder" if Path(path).is_dir() else "no such file"
        raise RecordError(f"{path}: {what}; run the stage that makes it (silmm {stage})")


def _parse(text: str, kind: type, where: str, hint: str, extra: bool = False) -> Any:
    try:
        return parse(text, kind, extra)
    except RecordError as error:
        raise RecordError(f"{where}: {error}{hint}") from None


def _check_rows(path: Path, rows: Sequence[Any], hint: str) -> None:
    """Check values, ids and links of dataclass rows; the line number is the position in the file."""
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        try:
            _check_row(row, "", seen)
            if isinstance(row, PromptQuestions):
                ids: set[str] = set()
                for i, question in enumerate(row.questions):
                    _check_row(question, f"questions[{i}].", ids)
                for question in row.questions:
                    if lost := set(question.parents) - (ids - {question.id}):
                        raise RecordError(f"question '{question.id}' has unknown parent {short(sorted(lost)[0])}")
        except RecordError as error:
            raise RecordError(f"{path}:{number}: {error}{hint}") from None


def _check_row(row: Any, prefix: str, seen: set[str]) -> None:
    for f in dataclasses.fields(row):
        value, name = getattr(row, f.name), f"{prefix}{f.name}"
        if f.metadata.get("choices") and value not in f.metadata["choices"]:
            raise RecordError(f"field '{name}' is {short(value)}: {one_of(f.metadata['choices'])}")
        if (most := f.metadata.get("longest")) and not (value.strip() and len(value) <= most):
            found = f"{len(value):,} characters long" if value.strip() else "empty"
            raise RecordError(f"field '{name}' is {found}: expected a text of 1 to {most:,} characters")
        if f.metadata.get("id"):
            if not _ID.fullmatch(value):
                raise RecordError(f"field '{name}' is {short(value)}: {_AN_ID}")
            if value in seen:
                raise RecordError(f"field '{name}' is {short(value)}: this id was there before")
            seen.add(value)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "item"):  # a scalar of numpy or torch
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a JSON file")


def _hint(stage: str) -> str:
    return f"; delete the file and re-run the stage that makes it (silmm {stage})"


def _line(error: BaseException) -> str:
    """The first line of what a library says, cut to a readable length."""
    return _cut((str(error).splitlines() or [type(error).__name__])[0], 200)


def _cut(value: object, most: int = 60) -> str:
    """A value of a file as text for a message: printable, and not long."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."


def _listed(names: Sequence[str]) -> str:
    """The names of a foreign table's columns: the first few of them."""
    return ", ".join(map(_cut, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
