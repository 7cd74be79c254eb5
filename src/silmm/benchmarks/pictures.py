"""Pictures that anybody's model drew: a folder with the official names, ZIP archives of such a folder, or a JSON map.

Nothing is unpacked: a picture is read from where it is. A file is looked for under its name within a folder or archive.
"""

from __future__ import annotations

import functools
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from silmm.benchmarks.interface import Ref
from silmm.errors import InputError
from silmm.typed_json import short

DRAWN = "drawn.json"  # what `silmm benchmark-images` says of the pictures in a folder: no picture, and in every shard
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # of pictures, for layouts that leave it open
_NO_PICTURE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # as Pillow says that it is none
LARGEST = 2**28  # bytes of a member of an archive, unpacked


class PictureFiles(NamedTuple):
    """What `--images` names: the file or archive that holds each name. A name in two places is in `doubled`."""

    where: str  # what the user gave, for messages
    holder: dict[str, Path]  # of each name: the file itself, or the archive it is in
    doubled: tuple[str, ...]
    map: dict[str, str] | None = None  # of a JSON map: the name of the picture of each key

    def read(self, name: str) -> bytes:
        """The content of a file. Raises InputError where it cannot be read."""
        path = self.holder[name]
        try:
            if path.suffix != ".zip":
                return path.read_bytes()
            archive = _archive(path, path.stat().st_mtime_ns)
            if archive.getinfo(name).file_size > LARGEST:
                raise ValueError(f"{archive.getinfo(name).file_size:,} bytes: expected at most {LARGEST:,}")
            return archive.read(name)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
            raise InputError(f"{self.place(name)} cannot be read ({short(error)}): make the picture again") from None

    def pixels(self, ref: Ref) -> np.ndarray:
        """uint8 [H, W, 3] of a picture, or of its tile. Raises InputError where there is none to be seen."""
        try:
            with Image.open(io.BytesIO(self.read(ref.name))) as image:
                pixels_HWC = np.asarray(image.convert("RGB"))
        except InputError:
            raise
        except _NO_PICTURE:
            raise InputError(f"{self.place(ref.name)}: not a picture that can be read: make it again") from None
        return pixels_HWC if ref.tile is None else _tile(pixels_HWC, ref.tile)

    def place(self, name: str) -> str:
        """Where a file is, for a message."""
        path = self.holder[name]
        return f"{path}: {name}" if path.suffix == ".zip" else str(path)

    def check(self, names: Sequence[str]) -> None:
        """See that there is a picture behind every name. Raises InputError that lists those that cannot be read.

        A cheap look: of a PNG, the checksums; of other kinds, the header alone.
        """
        bad = [name for name in tqdm(names, "check", unit="picture", mininterval=1) if not self._is_picture(name)]
        if bad:
            listed = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
            raise InputError(f"{self.where}: {len(bad)} pictures cannot be read ({listed}): make them again")

    def _is_picture(self, name: str) -> bool:
        try:
            with Image.open(io.BytesIO(self.read(name))) as image:
                image.verify()
        except (InputError, *_NO_PICTURE):
            return False
        return True


def _tile(pixels_HWC: np.ndarray, tile: tuple[int, int, int]) -> np.ndarray:
    i, columns, rows = tile
    height, width = pixels_HWC.shape[0] // rows, pixels_HWC.shape[1] // columns
    y, x = i // columns * height, i % columns * width
    return pixels_HWC[y : y + height, x : x + width]


def find(paths: Sequence[Path]) -> PictureFiles:
    """The files of folders (archives in them are looked into), of archives, or of one JSON map {key: file beside it}.

    Raises InputError for what is not there, and for an archive or a map that cannot be read.
    """
    where = " ".join(map(str, paths))
    if len(paths) == 1 and paths[0].suffix == ".json":
        return _mapped(paths[0])
    holder: dict[str, Path] = {}
    doubled = []
    for path in paths:
        for name, file in _members(path):
            if name in holder:
                doubled.append(name)
            holder[name] = file
    return PictureFiles(where, holder, tuple(sorted(set(doubled))))


def _members(path: Path) -> list[tuple[str, Path]]:
    """(name, file or archive that holds it) of everything in a folder or an archive, sorted."""
    if path.is_file() and path.suffix == ".zip":
        return [(name, path) for name in _names(path)]
    if not path.is_dir():
        found = "no such folder" if not path.exists() else "neither a folder, nor a .zip archive, nor a .json map"
        raise InputError(f"{path}: {found} (--images): give the pictures, with their official names")
    members = []
    for file in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_dir() or hidden or file == path / DRAWN:
            continue
        inner = file.suffix == ".zip"
        members += [(name, file) for name in _names(file)] if inner else [(file.relative_to(path).as_posix(), file)]
    return members


@functools.lru_cache(maxsize=8)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """An open archive, as it was at that time: reading the table of one with thousands of pictures takes a while."""
    return zipfile.ZipFile(path)


def _names(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return sorted(name for name in opened.namelist() if not name.endswith("/"))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"{archive}: not a whole ZIP archive ({short(error)}): make it again") from None


def _mapped(file: Path) -> PictureFiles:
    try:
        text = file.read_text(encoding="utf-8")
        pairs = json.loads(text, object_pairs_hook=list)  # a dictionary would keep the last of two
        if not text.lstrip().startswith("{"):
            raise ValueError("it is another kind of JSON")
        named = dict(pairs)
        valid = all(isinstance(name, str) for name in named.values())
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: not a JSON map ({short(error)}): give {{key: picture's file}}") from None
    if not valid:
        raise InputError(f"{file}: expected a file name behind every key")
    keys = [key for key, _ in pairs]
    doubled = sorted({key for key in keys if keys.count(key) > 1}) if len(keys) > len(named) else []
    holder = {name: file.parent / name for name in named.values()}
    return PictureFiles(str(file), holder, tuple(doubled), named)
