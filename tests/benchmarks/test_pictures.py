"""Pictures of anybody's model: found in folders, archives and maps, cut out of grids, refused where damaged."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm.benchmarks import pictures
from silmm.benchmarks.interface import Ref
from silmm.errors import InputError


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


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (3, 2), 7).save(tmp_path / "grey.png")
    Image.new("RGBA", (3, 2), (1, 2, 3, 0)).save(tmp_path / "clear.png")
    files = pictures.find([tmp_path])
    assert files.pixels(Ref("grey.png")).tolist() == [[[7] * 3] * 3] * 2
    assert files.pixels(Ref("clear.png")).shape == (2, 3, 3)


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


def test_an_archive_that_changed_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "p.zip"
    for content in (b"one", b"two"):
        file.unlink(missing_ok=True)
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x", content)
        assert pictures.find([file]).read("x") == content
