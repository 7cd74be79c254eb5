"""Pictures that anybody's model drew: a folder with the official names, ZIP archives of such a folder, or a JSON map.

Nothing is unpacked: a picture is read from where it is. A file is looked for under its name within a folder or archive.
"""

from __future__ import annotations

import functools
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from silmm import zip_members
from silmm.benchmarks.interface import Ref
from silmm.errors import InputError
from silmm.picture_reader import AS_STORED, Decoding, Picture, PictureError, decode, read_file
from silmm.typed_json import short

DRAWN = "drawn.json"  # what `silmm benchmark-images` says of the pictures in a folder: no picture, and in every shard
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")  # of pictures, for layouts that leave it open
LARGEST = zip_members.LARGEST  # bytes of a member of an archive, unpacked


class PictureFiles(NamedTuple):
    """What `--images` names: the file or archive that holds each name. A name in two places is in `doubled`."""

    where: str  # what the user gave, for messages
    holder: dict[str, Path]  # of each name: the file itself, or the archive it is in
    doubled: tuple[str, ...]
    map: dict[str, str] | None = None  # of a JSON map: the name of the picture of each key
    how: Decoding = AS_STORED  # as the benchmark's own code decodes

    def read(self, name: str) -> bytes:
        """The content of a file. Raises InputError where it cannot be read."""
        path = self.holder[name]
        try:
            if path.suffix != ".zip":
                return read_file(path)
            archive = _archive(path, path.stat().st_mtime_ns)
            return zip_members.read(archive, archive.getinfo(name), LARGEST)
        except Exception as error:  # zipfile has no error of its own for some of what a damaged file may hold
            raise InputError(f"{self.place(name)} cannot be read ({short(error)}): make the picture again") from None

    def decoded(self, name: str) -> Picture:
        """A file's picture. Raises InputError where there is none to be seen."""
        try:
            return decode(self.read(name), self.how)
        except PictureError as error:
            raise InputError(f"{self.place(name)}: not a picture that can be read ({error}): make it again") from None

    def pixels(self, ref: Ref) -> np.ndarray:
        """uint8 [H, W, 3] of a picture, or of its tile. Raises InputError where there is none to be seen."""
        (pixels_HWC,) = self.each([ref])
        return pixels_HWC

    def each(self, refs: Sequence[Ref]) -> Iterator[np.ndarray]:
        """`pixels` of each. A file that several refs in a row are tiles of is decoded once, and no tile keeps it."""
        for name, own in groupby(refs, key=lambda ref: ref.name):
            whole_HWC = self.decoded(name).pixels_HWC
            for ref in own:
                yield whole_HWC if ref.tile is None else _tile(whole_HWC, ref.tile)

    def place(self, name: str) -> str:
        """Where a file is, for a message."""
        path = self.holder[name]
        return f"{path}: {name}" if path.suffix == ".zip" else str(path)


def _tile(pixels_HWC: np.ndarray, tile: tuple[int, int, int]) -> np.ndarray:
    i, columns, rows = tile
    height, width = pixels_HWC.shape[0] // rows, pixels_HWC.shape[1] // columns
    y, x = i // columns * height, i % columns * width
    return pixels_HWC[y : y + height, x : x + width].copy()


def find(paths: Sequence[Path], how: Decoding = AS_STORED) -> PictureFiles:
    """The files of folders (archives in them are looked into, links are followed), of archives, or of one JSON map
    {key: file beside it}. how: the way the benchmark's own code decodes.

    Raises InputError for what is not there, for an archive or a map that cannot be read, and for links in a circle.
    """
    where = " ".join(map(str, paths))
    if len(paths) == 1 and paths[0].suffix == ".json":
        return _mapped(paths[0])._replace(how=how)
    holder: dict[str, Path] = {}
    doubled = []
    for path in paths:
        for name, file in _members(path):
            if name in holder:
                doubled.append(name)
            holder[name] = file
    return PictureFiles(where, holder, tuple(sorted(set(doubled))), how=how)


def _members(path: Path) -> list[tuple[str, Path]]:
    """(name, file or archive that holds it) of everything in a folder or an archive, sorted."""
    if path.is_file() and path.suffix == ".zip":
        return [(name, path) for name in _names(path)]
    if not path.is_dir():
        found = "no such folder" if not path.exists() else "neither a folder, nor a .zip archive, nor a .json map"
        raise InputError(f"{path}: {found} (--images): give the pictures, with their official names")
    members = []
    for file in sorted(_files(path)):
        if file == path / DRAWN:
            continue
        inner = file.suffix == ".zip"
        members += [(name, file) for name in _names(file)] if inner else [(file.relative_to(path).as_posix(), file)]
    return members


def _files(top: Path) -> Iterator[Path]:
    """The files of a folder and of all folders in it, hidden ones left out, also of those that are links."""
    todo: list[tuple[Path, frozenset[tuple[int, int]]]] = [(top, frozenset())]  # folders, those that each one is in
    while todo:
        folder, above = todo.pop()
        where = folder
        try:
            found = folder.stat()
            if (found.st_dev, found.st_ino) in above:
                raise InputError(f"{folder}: a link to a folder that it is in: take it away")
            inside = above | {(found.st_dev, found.st_ino)}
            with os.scandir(folder) as entries:
                for entry in entries:
                    where = Path(entry)
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        todo.append((where, inside))
                    else:
                        yield where
        except OSError as error:  # no right to look into it, or a link to itself
            raise InputError(f"{where}: cannot be read ({short(error)}): give folders without it") from None


@functools.lru_cache(maxsize=8)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """An open archive, as it was at that time: reading the table of one with thousands of pictures takes a while."""
    return zipfile.ZipFile(path)


def _names(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return sorted(entry.filename for entry in zip_members.members(opened))
    except Exception as error:  # as above
        raise InputError(f"{archive}: not a whole ZIP archive ({short(error)}): make it again") from None


def _mapped(file: Path) -> PictureFiles:
    try:
        text = read_file(file).decode()
        pairs = json.loads(text, object_pairs_hook=list)  # a dictionary would keep the last of two
        if not text.lstrip().startswith("{"):
            raise ValueError("it is another kind of JSON")
        named = dict(pairs)
        valid = all(isinstance(name, str) for name in named.values())
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: not a JSON map ({short(error)}): give {{key: picture's file}}") from None
    if not valid:
        raise InputError(f"{file}: expected a file name behind every key")
    doubled = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    holder = {name: file.parent / name for name in named.values()}
    return PictureFiles(str(file), holder, tuple(doubled), named)
