"""Pictures of anybody's model: found in folders, archives and maps, cut out of grids, refused where damaged."""

from __future__ import annotations

import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm.benchmarks import pictures
from silmm.benchmarks.interface import Item, Ref
from silmm.benchmarks.named_by_id import ONE_PICTURE
from silmm.errors import InputError
from tests.test_zip_members import shared


def grid() -> np.ndarray:
    """Two rows of three tiles of 4 x 5 pixels, each of its own grey."""
    return np.kron(np.arange(6).reshape(2, 3), np.ones((4, 5)))[..., None].repeat(3, 2).astype(np.uint8) * 10


def test_tiles_are_row_by_row(tmp_path: Path) -> None:
    Image.fromarray(grid()).save(tmp_path / "g.png")
    files = pictures.find([tmp_path])
    for i in range(6):
        tile = files.pixels(Ref("g.png", (i, 3, 2)))
        assert tile.shape == (4, 5, 3)
        assert (tile == 10 * i).all()
    assert (files.pixels(Ref("g.png")) == grid()).all()


def test_a_grid_is_decoded_once_and_no_tile_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    for name in ("g.png", "h.png"):
        Image.fromarray(grid()).save(tmp_path / name)
    decode = pictures.decode
    monkeypatch.setattr(pictures, "decode", lambda *given: (decoded.append(len(given[0])), decode(*given))[1])
    refs = [Ref(name, (i, 3, 2)) for name in ("g.png", "h.png") for i in range(6)]
    tiles = list(pictures.find([tmp_path]).each(refs))
    assert len(decoded) == 2
    assert [int(tile[0, 0, 0]) for tile in tiles] == [0, 10, 20, 30, 40, 50] * 2
    assert all(tile.base is None for tile in tiles)


def test_folders_that_are_links_are_followed(tmp_path: Path) -> None:
    Image.fromarray(grid()).save(tmp_path / "g.png")
    (tmp_path / "real/samples").mkdir(parents=True)
    (tmp_path / "g.png").rename(tmp_path / "real/samples/0.png")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/00000").symlink_to(tmp_path / "real")
    (tmp_path / "pictures/00001").symlink_to(tmp_path / "real")  # twice, but not in a circle
    (tmp_path / "given").symlink_to(tmp_path / "pictures")
    files = pictures.find([tmp_path / "given"])
    assert sorted(files.holder) == ["00000/samples/0.png", "00001/samples/0.png"]
    assert (files.pixels(Ref("00001/samples/0.png")) == grid()).all()


@pytest.mark.parametrize("target", [".", "..", "itself"])
def test_links_in_a_circle_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "top/a").mkdir(parents=True)
    (tmp_path / "top/a/itself").symlink_to(target)
    with pytest.raises(InputError, match=r"top/a/itself: (a link to a folder that it is in|cannot be read .*levels)"):
        pictures.find([tmp_path / "top"])


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 7).save(tmp_path / "grey.png")
    Image.new("RGBA", (3, 2), (1, 2, 3, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((2, 3), 32768, np.uint16)).save(tmp_path / "deep.png")
    files = pictures.find([tmp_path])
    assert files.pixels(Ref("grey.png")).tolist() == [[[7] * 3] * 3] * 2
    assert files.pixels(Ref("clear.png")).tolist() == [[[1, 2, 3]] * 3] * 2
    assert files.pixels(Ref("deep.png")).tolist() == [[[128] * 3] * 3] * 2


@pytest.mark.parametrize("name", ["x.png", "x.zip"])
def test_what_another_program_would_open_is_refused(tmp_path: Path, name: str) -> None:
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (tmp_path / "x.png").write_bytes(content)
    if name == "x.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.png", content)
    with pytest.raises(InputError, match=r"x.png: not a picture that can be read \(it is no whole PNG"):
        pictures.find([tmp_path / name if name == "x.zip" else tmp_path]).pixels(Ref("x.png"))


def test_names_are_of_the_folder_and_hidden_files_are_none(tmp_path: Path) -> None:
    for name in ("a/b.png", ".cache/c.png", "__MACOSX", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert sorted(pictures.find([tmp_path]).holder) == ["__MACOSX", "a/b.png"]


def test_a_name_in_two_places_is_doubled(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.png").write_text(folder)
        (tmp_path / folder / f"{folder}.png").write_text(folder)
    assert pictures.find([tmp_path / "one", tmp_path / "two"]).doubled == ("same.png",)
    assert pictures.find([tmp_path]).doubled == ()


def test_a_map_names_pictures_beside_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (1, 1), (9, 9, 9)).save(tmp_path / "deep/x.png")
    (tmp_path / "map.json").write_text(json.dumps({"a b": "deep/x.png", "c": "deep/gone.png"}))
    files = pictures.find([tmp_path / "map.json"])
    assert files.map == {"a b": "deep/x.png", "c": "deep/gone.png"}
    assert files.pixels(Ref("deep/x.png")).tolist() == [[[9, 9, 9]]]
    with pytest.raises(InputError, match="gone.png cannot be read"):
        files.pixels(Ref("deep/gone.png"))


def test_a_key_twice_in_a_map_is_doubled(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"a": "x.png", "a": "y.png", "b": "z.png"}')
    assert pictures.find([tmp_path / "map.json"]).doubled == ("a",)


def test_a_large_map_with_a_key_twice_is_read_at_once(tmp_path: Path) -> None:
    keys = ",".join(f'"{i}": "x.png"' for i in range(100_000))
    (tmp_path / "map.json").write_text('{"7": "y.png",' + keys + "}")
    start = time.process_time()
    assert pictures.find([tmp_path / "map.json"]).doubled == ("7",)
    assert time.process_time() - start < 5  # counting each key's places took ten minutes


def test_names_that_are_all_there_twice_are_listed_at_once() -> None:
    names = [f"{i}.png" for i in range(30_000)]
    files = pictures.PictureFiles("x", dict.fromkeys(names, Path("x")), tuple(names))
    start = time.process_time()
    with pytest.raises(InputError, match="60000 pictures where one is expected"):
        ONE_PICTURE.locate(files, [Item(str(i), "a cat", "all", (0,)) for i in range(30_000)])
    assert time.process_time() - start < 2


@pytest.mark.parametrize("text", ["", "[]", '[["a", "x.png"]]', '{"a": 1}', '{"a": {"b": "c"}}', "{", '"text"', "3"])
def test_what_is_no_map(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(InputError, match=r"map.json: (not a JSON map|expected a file name)"):
        pictures.find([tmp_path / "map.json"])


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "p.zip").write_text("no archive")
    for path in (tmp_path, tmp_path / "p.zip"):
        with pytest.raises(InputError, match="p.zip: not a whole ZIP archive"):
            pictures.find([path])


def test_a_damaged_member_is_said(tmp_path: Path) -> None:
    file = tmp_path / "p.zip"
    Image.fromarray(grid()).save(tmp_path / "g.png")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "g.png", "g.png")
    content = bytearray(file.read_bytes())
    content[60] ^= 255
    file.write_bytes(content)
    with pytest.raises(InputError, match="p.zip: g.png cannot be read"):
        pictures.find([file]).pixels(Ref("g.png"))


def test_a_member_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("g.png", bytes(1001))
    with pytest.raises(InputError, match="1,001 bytes: expected at most 1,000"):
        pictures.find([tmp_path]).pixels(Ref("g.png"))


def test_a_damaged_member_of_any_compression_is_said(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("g.png", bytes(5000))
    content = bytearray((tmp_path / "p.zip").read_bytes())
    content[50] ^= 255
    (tmp_path / "p.zip").write_bytes(content)
    with pytest.raises(InputError, match="p.zip: g.png cannot be read"):
        pictures.find([tmp_path]).pixels(Ref("g.png"))


def test_one_picture_under_many_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p.zip: not a whole ZIP archive .*share the same bytes"):
        pictures.find([shared(tmp_path / "p.zip", 20, b"a picture")])


def test_an_archive_that_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "p.zip"
    for content in (b"one", b"two"):
        file.unlink(missing_ok=True)
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x", content)
        assert pictures.find([file]).read("x") == content
