"""Members of ZIP archives that others made, read in bounded memory: what an archive says of a member is not believed.

A few hundred bytes can claim, or unpack to, gigabytes; and many names can share the same bytes.
"""

from __future__ import annotations

import zipfile
from itertools import pairwise

LARGEST = 2**28  # bytes of a member, unpacked
RATIO, SMALL = 100, 2**20  # a member may unpack to this many times its size, or to this many bytes
_HEADER = 30  # bytes before a member's name
_METHODS = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}


def members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries that are files. Raises ValueError where two of them share bytes."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    for entry, following in pairwise(entries):
        if entry.header_offset + _HEADER + entry.compress_size > following.header_offset:
            raise ValueError(f"{entry.filename} and {following.filename} share the same bytes")
    return [entry for entry in archive.infolist() if not entry.is_dir()]


def read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int = LARGEST) -> bytes:
    """The content of a member, its checksum compared.

    Raises ValueError for one that is too large, or compressed too well to be a picture or a text; zipfile raises
    whatever it comes upon for one that is damaged."""
    if entry.file_size > largest:
        raise ValueError(f"{entry.file_size:,} bytes: expected at most {largest:,}")
    if entry.compress_type not in _METHODS:
        raise ValueError(f"compression method {entry.compress_type}: expected {' or '.join(_METHODS.values())}")
    if entry.file_size > max(SMALL, RATIO * entry.compress_size):
        raise ValueError(f"{entry.compress_size:,} bytes unpack to {entry.file_size:,}: expected at most {RATIO} times")
    with archive.open(entry) as stream:
        content = stream.read(entry.file_size)  # without a number, zipfile unpacks all there is before it looks
        if len(content) != entry.file_size or stream.read(1):
            raise ValueError(f"{len(content):,} bytes: expected {entry.file_size:,}")
    return content
