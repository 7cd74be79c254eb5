"""Members of archives: what they claim is checked before they are unpacked, and no two share bytes."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from silmm import zip_members


def archive(file: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as opened:
        opened.writestr("a.png", content)
    return file


def claiming(file: Path, size: int, claimed: int) -> Path:
    """The archive, its member said to have another size."""
    file.write_bytes(file.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", claimed)))
    return file


def read(file: Path, name: str = "a.png") -> bytes:
    with zipfile.ZipFile(file) as opened:
        return zip_members.read(opened, {entry.filename: entry for entry in zip_members.members(opened)}[name])


def shared(file: Path, names: int, content: bytes) -> Path:
    """One stored member under many names: as many entries of the directory, one content."""
    sizes = zlib.crc32(content), len(content), len(content)
    local = b"PK\3\4" + struct.pack("<5H3I2H", 20, 0, 0, 0, 33, *sizes, 5, 0)
    entry = b"PK\1\2" + struct.pack("<6H3I5H2I", 20, 20, 0, 0, 0, 33, *sizes, 5, 0, 0, 0, 0, 0, 0)
    entries = b"".join(entry + b"%05d" % i for i in range(names))
    start = len(local) + 5 + len(content)
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, names, names, len(entries), start, 0)
    file.write_bytes(local + b"00000" + content + entries + end)
    return file


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("content", [b"", b"x", random.Random(0).randbytes(2_000_000)], ids=["empty", "a byte", "2 MB"])
def test_what_went_in_comes_out(tmp_path: Path, method: int, content: bytes) -> None:
    assert read(archive(tmp_path / "a.zip", content, method)) == content


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_a_million_times_are_refused(tmp_path: Path, method: int) -> None:
    file = archive(tmp_path / "a.zip", bytes(2**20), method)
    assert file.stat().st_size < 1000
    with pytest.raises(ValueError, match=f"compression method {method}: expected stored or deflated"):
        read(file)


def test_a_member_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"4,\d\d\d bytes unpack to 4,194,304: expected at most 100 times"):
        read(archive(tmp_path / "a.zip", bytes(2**22)))
    with pytest.raises(ValueError, match=r"268,435,457 bytes: expected at most 268,435,456"):
        read(claiming(archive(tmp_path / "a.zip", bytes(12_345)), 12_345, 2**28 + 1))


def test_what_a_member_claims_bounds_what_is_unpacked(tmp_path: Path) -> None:
    """50 MB behind a claim of 1,000 bytes; zipfile alone would unpack them all before it cuts them off."""
    file = claiming(archive(tmp_path / "a.zip", bytes(50_000_000)), 50_000_000, 1000)
    tracemalloc.start()
    try:
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            read(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_names_that_share_bytes_are_refused(tmp_path: Path) -> None:
    content = bytes(range(256)) * 80
    assert read(shared(tmp_path / "one.zip", 1, content), "00000") == content
    file = shared(tmp_path / "many.zip", 20, content)
    assert file.stat().st_size < 21_800
    with pytest.raises(ValueError, match="00000 and 00001 share the same bytes"):
        read(file)
