"""torch's own files: mapped, whole or refused, and nothing in them is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from silmm.errors import InputError
from silmm.lmm.hf import pickled


def test_tensors_by_name(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    for name, old in (("new.pt", False), ("old.pt", True)):  # torch before 1.6 wrote no archives
        torch.save(tensors, tmp_path / name, _use_new_zipfile_serialization=not old)
        found = pickled.read_state(tmp_path / name)
        assert found.keys() == tensors.keys() and all(torch.equal(found[key], t) for key, t in tensors.items())


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ([torch.ones(1)], "no tensors by name, but a list"),
        ({"state_dict": {"a": torch.ones(1)}}, "no tensors by name"),
        ({"a": Path("x")}, "not a file of tensors alone"),
    ],
)
def test_other_things_are_refused(tmp_path: Path, held: object, says: str) -> None:
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"a.pt: {says}") as raised:
        pickled.read_state(tmp_path / "a.pt")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file: download it"),
        (b"", "not a whole file of weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid ...", "not a file of tensors alone"),
        (b"<html>not found</html>", "not a file of tensors alone"),
    ],
)
def test_files_that_are_not_whole_are_refused(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "a.pt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=f"a.pt: .*{says}"):
        pickled.read_state(file)


def test_a_download_under_way_is_said(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.incomplete").write_bytes(b"1")
    with pytest.raises(InputError, match="a download has not finished"):
        pickled.read_state(tmp_path / "a.pt")
