"""What a command may replace: nothing, an empty folder or file, or what it wrote itself before.

A folder says so by a hidden file in it (MARKER) with the command that wrote it and the names of all files; one that has
a file more is somebody's. A single file is known by its content: the columns of a table, the keys of JSON, the name of
silmm in a picture or a page. The name of a folder or a file says nothing.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from silmm.errors import InputError

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

MARKER = ".silmm"  # hidden: what reads a folder of pictures or of weights passes it over
SOFTWARE = "silmm"  # who made a picture, as PNG and PDF can say it
PNG, PDF = b"Software\0silmm", b"/Creator (silmm)"
PAGE = b"<title>Gallery: prompts by iterations</title>"
FIGURE = (".png", ".pdf", ".csv")
_BESIDE = {MARKER, ".snakemake_timestamp"}  # Snakemake puts its own into folders
_LONGEST = 1 << 20  # bytes of a header line, or of counts in JSON


class Columns(Protocol):
    """A table of `silmm.schemas`: parquet with these columns."""

    @property
    def columns(self) -> Mapping[str, str]: ...


Kind = Columns | type | tuple[str, ...] | bytes  # parquet; a dataclass (JSON, or JSON lines); CSV; bytes in the file


def check_folder(path: Path, command: str) -> None:
    """Raise InputError if `path` is a file, or holds what `command` did not write; OSError where it cannot be read."""
    if path.name in ("", ".."):
        raise InputError(f"{path}: `{command}` writes a folder, whole or not at all: give the name of a new one")
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"{path}: a file, but `{command}` writes a folder: give a new folder")
    there = [name for name in _files(path) if name not in _BESIDE]
    if not there:
        return
    way_out = "nothing was touched: give a new folder, or delete this one yourself"
    try:
        said = json.loads((path / MARKER).read_text(encoding="utf-8"))
        author, names = said["command"], set(said["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f"{path}: not empty, and `{command}` did not write it, or an older version did"
            f" ({_listed(there)}): {way_out}"
        ) from None
    if author != command:
        raise InputError(f"{path}: not empty: `{author}` wrote it, not `{command}`: {way_out}")
    if added := [name for name in there if name not in names]:
        raise InputError(f"{path}: holds what `{command}` did not write ({_listed(added)}): {way_out}")


def mark(folder: Path, command: str) -> None:
    """Write the marker into a whole folder; an empty one needs none."""
    if names := sorted(set(_files(folder)) - _BESIDE):
        text = json.dumps({"command": command, "files": names}, indent=1)
        (folder / MARKER).write_text(text + "\n", encoding="utf-8")


def check_file(path: Path, kind: Kind) -> None:
    """Raise InputError if `path` is a folder or a device, or holds something else than `kind`."""
    if not path.exists():
        return
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no regular file"
        raise InputError(f"{path}: {found}, but a file is to be written here: give a file's name")
    if path.stat().st_size and not _is(path, kind):
        raise InputError(
            f"{path}: holds something else than this command writes, or an older version wrote it: nothing was"
            " touched: give another name, or delete it yourself"
        )


def figure_files(out: Path) -> list[Path]:
    """The picture, the page and the numbers of a figure; a suffix of `out` that is one of theirs is dropped."""
    stem = out.with_suffix("") if out.suffix in FIGURE else out
    return [stem.with_name(f"{stem.name}{suffix}") for suffix in FIGURE]


def png_signature() -> PngInfo:
    """What makes a PNG one of silmm's: `Image.save(pnginfo=..)`."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    return info


def check_apart(outputs: Mapping[str, Path], inputs: Iterable[tuple[str, Path]]) -> None:
    """Raise InputError if an output (by the name of its option) is an input or another output, or if the folder `out`
    holds one of these."""
    places = {name: Path(os.path.realpath(path)) for name, path in outputs.items()}
    for name, place in places.items():
        for option, path in inputs:
            source = Path(os.path.realpath(path))
            if place == source or (name == "out" and place in source.parents):
                how = "is" if place == source else "holds"
                raise InputError(f"{outputs[name]}: --{name} {how} an input (--{option} {path}): give another place")
        for other, second in places.items():
            if other != name and (place == second or (name == "out" and place in second.parents)):
                raise InputError(f"{outputs[other]}: --{other} is --{name}, or lies in it: give another place")


def _files(folder: Path) -> Iterator[str]:
    """All that is in a folder and below, by its path in it: files, links and empty folders. Raises OSError."""

    def stop(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=stop):
        if not folders and not files and Path(place) != folder:
            yield Path(place).relative_to(folder).as_posix()
        for name in [*files, *(name for name in folders if os.path.islink(os.path.join(place, name)))]:
            yield Path(place, name).relative_to(folder).as_posix()


def _is(path: Path, kind: Kind) -> bool:
    """Whether a file that is not empty has the columns, the keys or the bytes of its kind."""
    if isinstance(kind, bytes):
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(kind) >= 0
    if not isinstance(kind, tuple | type):
        return _has_columns(path, list(kind.columns))
    with path.open("rb") as stream:
        first, rest = stream.readline(_LONGEST), stream.read(_LONGEST)
    try:
        if isinstance(kind, tuple):
            return next(csv.reader([first.decode()])) == list(kind)
        wanted = {field.name for field in dataclasses.fields(kind)}
        return any(_keys(text) == wanted for text in (first, first + rest))
    except (ValueError, csv.Error, StopIteration):
        return False


def _keys(text: bytes) -> set[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return set(value) if isinstance(value, dict) else None


def _has_columns(path: Path, names: list[str]) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_schema(path).names == names)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return False


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
