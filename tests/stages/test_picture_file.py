"""The archive of a shard's pictures: what goes in comes out, the same bytes each time, and damage has a name."""

from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from silmm.records import RecordError
from silmm.stages import picture_file
from silmm.stages.picture_file import picture_writer, png, read_pictures
from tests.test_zip_members import shared

PICTURES = {f"p{i}_0.png": np.random.default_rng(i).integers(0, 256, (9, 7, 3), dtype=np.uint8) for i in range(3)}


def written(folder: Path) -> Path:
    folder.mkdir()
    with picture_writer(folder) as add:
        for name, pixels in PICTURES.items():
            add(name, pixels)
    return folder / "pictures.zip"


def test_pictures_come_out_as_they_went_in(tmp_path: Path) -> None:
    archive = written(tmp_path / "a")
    for names in (list(PICTURES), ["p2_0.png", "p0_0.png"], []):
        found = read_pictures(tmp_path / "a", names)
        assert all(np.array_equal(pixels, PICTURES[name]) for name, pixels in zip(names, found, strict=True))
    assert archive.read_bytes() == written(tmp_path / "b").read_bytes()


def test_other_tools_open_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(written(tmp_path / "a")) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == list(PICTURES)
        assert archive.read("p1_0.png").startswith(b"\x89PNG")


def test_no_two_pictures_have_one_name(tmp_path: Path) -> None:
    with picture_writer(tmp_path) as add:
        add("p0_0.png", PICTURES["p0_0.png"])
        with pytest.raises(RecordError, match="two pictures would be p0_0.png"):
            add("p0_0.png", PICTURES["p1_0.png"])


def flipped(archive: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[content.index(b"IDAT", content.index(b"p1_0.png")) + 20] ^= 1
    archive.write_bytes(content)


def compressed(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("p1_0.png", bytes(10_000_000))


def no_picture(archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as new:
        new.writestr("p1_0.png", b"GIF89a and so on")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (Path.unlink, "pictures.zip: no such file; run the stage that makes it"),
        (lambda file: file.write_bytes(b""), "pictures.zip: not a whole ZIP archive"),
        (lambda file: file.write_bytes(file.read_bytes()[:-30]), "pictures.zip: not a whole ZIP archive"),
        (flipped, "pictures.zip: not a whole ZIP archive .*CRC"),
        (compressed, "p1_0.png: compressed or encrypted"),
        (no_picture, "p1_0.png: not a picture that can be read"),
    ],
)
def test_damage_is_named(damage: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    damage(written(tmp_path / "a"))
    with pytest.raises(RecordError, match=said):
        read_pictures(tmp_path / "a", ["p1_0.png"])


def test_names_that_share_a_picture_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    shared(tmp_path / "a/pictures.zip", 20, png(np.zeros((2000, 2000, 3), np.uint8)))
    with pytest.raises(RecordError, match="not a whole ZIP archive .*share the same bytes"):
        read_pictures(tmp_path / "a", ["00000"])


def test_one_picture_is_decoded_at_a_time(tmp_path: Path) -> None:
    """Twenty pictures of 3 MB, each a few kilobytes in its file."""
    names = [f"p{i}_0.png" for i in range(20)]
    with picture_writer(tmp_path) as add:
        for name in names:
            add(name, np.full((1000, 1000, 3), 7, np.uint8))
    tracemalloc.start()
    try:
        found = read_pictures(tmp_path, names)
        assert [int(picture[0, 0, 0]) for picture in found] == [7] * 20
        assert [picture.shape for picture in found[17:]] == [(1000, 1000, 3)] * 3
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 3_000_000


def test_another_size_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "a")
    assert len(read_pictures(tmp_path / "a", list(PICTURES), (7, 9))) == 3
    monkeypatch.setattr(picture_file, "decode", None)
    with pytest.raises(RecordError, match=r"p0_0.png: 7 x 9 pixels: expected 30 x 30; delete its folder"):
        read_pictures(tmp_path / "a", list(PICTURES), (30, 30))


def test_a_picture_that_is_damaged_within_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    content = png(PICTURES["p0_0.png"])
    with zipfile.ZipFile(tmp_path / "a/pictures.zip", "w") as archive:
        archive.writestr("p0_0.png", content[:-40])
    found = read_pictures(tmp_path / "a", ["p0_0.png"])
    with pytest.raises(RecordError, match="p0_0.png: not a picture that can be read .* re-run silmm images"):
        list(found)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a")
    with pytest.raises(RecordError, match=r"p7_0.png: no such picture, which index.parquet .* silmm images"):
        read_pictures(tmp_path / "a", ["p7_0.png"])
