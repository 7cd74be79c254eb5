"""The pictures of a shard as one file: a ZIP archive of PNGs, which any tool opens.

At the paper's scale (16,000 prompts, 30 pictures each) a file a picture would be half a million files an iteration,
and file systems of clusters count and slow down by files. PNGs are compressed already, so the archive only stores them:
a reader goes straight to the one that it wants.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from silmm import zip_members
from silmm.picture_reader import PictureError, decode, size_of
from silmm.records import RecordError
from silmm.typed_json import short

NAME = "pictures.zip"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP knows: same pictures, same bytes
_UNIX, _MODE = 3, 0o644 << 16
_FORMATS = ("PNG",)
_REMEDY = "delete its folder and re-run silmm images"


@contextmanager
def picture_writer(folder: Path) -> Iterator[Callable[[str, np.ndarray], None]]:
    """Yield a function that adds one picture, uint8 `[H, W, 3]`, under a name to `folder`'s archive.

    It raises RecordError for a name that is there: prompts `p1` and `p1_0` may both have a `p1_0_1.png`.
    """
    with archive_writer(folder / NAME) as add:

        def add_picture(name: str, pixels_HWC: np.ndarray) -> None:
            try:
                add(name, png(pixels_HWC))
            except FileExistsError:
                raise RecordError(f"{folder}: two pictures would be {name}: give prompts ids without '_'") from None

        yield add_picture


@contextmanager
def archive_writer(file: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yield a function that adds a content under a name to a new archive, and raises FileExistsError for a name that is
    there."""
    with zipfile.ZipFile(file, "x", zipfile.ZIP_STORED) as archive:

        def add(name: str, content: bytes) -> None:
            if name in archive.NameToInfo:
                raise FileExistsError(name)
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, content)

        yield add


def png(pixels_HWC: np.ndarray) -> bytes:
    """A picture, uint8 `[H, W, 3]`, as a PNG: the same bytes each time."""
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


class Pictures(Sequence[np.ndarray]):
    """Pictures uint8 `[H, W, 3]`, decoded when they are asked for: in memory they are as large as their files."""

    def __init__(self, places: Sequence[str], contents: Sequence[bytes]) -> None:
        self._places, self._contents = places, contents

    def __len__(self) -> int:
        return len(self._contents)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Pictures: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Pictures:
        """One picture, or some of them. Raises RecordError for one that is damaged."""
        if isinstance(index, slice):
            return Pictures(self._places[index], self._contents[index])
        try:
            return decode(self._contents[index], formats=_FORMATS).pixels_HWC
        except PictureError as error:
            raise _unreadable(self._places[index], error) from None


def read_pictures(folder: Path, names: Sequence[str], size: tuple[int, int] | None = None) -> Pictures:
    """The pictures with these names from `folder`'s archive; with `size` (width, height), all of it.

    Raises RecordError for an archive or a picture that is missing or damaged; checksums are checked.
    """
    file = folder / NAME
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in zip_members.members(archive)}
            contents = [_content(archive, entries.get(name), name) for name in names]
    except FileNotFoundError:
        raise RecordError(f"{file}: no such file; run the stage that makes it (silmm images)") from None
    except RecordError:
        raise
    except Exception as error:  # zipfile has no error of its own for some of what a damaged file may hold
        raise RecordError(f"{file}: not a whole ZIP archive ({short(error)}); {_REMEDY}") from None
    places = [f"{file}: {name}" for name in names]
    for place, content in zip(places, contents, strict=True):
        try:
            found = size_of(content, _FORMATS)
        except PictureError as error:
            raise _unreadable(place, error) from None
        if size and found != size:
            raise RecordError(f"{place}: {found[0]} x {found[1]} pixels: expected {size[0]} x {size[1]}; {_REMEDY}")
    return Pictures(places, contents)


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None, name: str) -> bytes:
    where = f"{archive.filename}: {name}"
    if entry is None:
        raise RecordError(f"{where}: no such picture, which index.parquet beside it names; {_REMEDY}")
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise RecordError(f"{where}: compressed or encrypted, as silmm images never writes it; {_REMEDY}")
    return zip_members.read(archive, entry)


def _unreadable(place: str, error: PictureError) -> RecordError:
    return RecordError(f"{place}: not a picture that can be read ({error}); {_REMEDY}")
