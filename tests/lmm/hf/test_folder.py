"""A folder of weights is read without torch, and what is wrong with it is said in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from silmm.errors import InputError
from silmm.lmm.hf import folder as folders

SHARDS = {
    "model-00001-of-00002.safetensors": {"a.weight": np.zeros((2, 3), np.float32)},
    "model-00002-of-00002.safetensors": {"b.weight": np.ones((4,), np.float16)},
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Two shards and their index."""
    for name, tensors in SHARDS.items():
        save_file(tensors, str(tmp_path / name))
    index = {tensor: name for name, tensors in SHARDS.items() for tensor in tensors}
    (tmp_path / folders.INDEX).write_text(json.dumps({"weight_map": index}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "janus"}))
    (tmp_path / "tokenizer.json").write_text("{}")
    return tmp_path


def check(folder: Path) -> folders.Weights:
    return folders.check(folder, family="janus", model_type="janus")


def test_headers_are_read(weights: Path) -> None:
    found = check(weights)
    assert found.config == {"model_type": "janus"}
    assert found.tensors == {"a.weight": ("F32", (2, 3)), "b.weight": ("F16", (4,))}
    assert [file.name for file in found.files] == sorted(SHARDS)


def test_one_file_needs_no_index(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, str(tmp_path / folders.SINGLE))
    (tmp_path / "config.json").write_text('{"model_type": "janus"}')
    assert list(check(tmp_path).tensors) == ["a"]


def test_torch_is_not_imported() -> None:
    code = "import sys, silmm.lmm.hf.folder; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def emu3(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "emu3"}')


def original(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "multi_modality"}')


def no_shard(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()


def unfinished(folder: Path) -> None:
    no_shard(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "abc.incomplete").write_bytes(b"12")


def pickled(folder: Path) -> None:
    for name in (*SHARDS, folders.INDEX):
        (folder / name).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"12")


def cut_data(folder: Path) -> None:
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def cut_header(folder: Path) -> None:
    file = folder / "model-00001-of-00002.safetensors"
    file.write_bytes(file.read_bytes()[:20])


def empty(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")


def pointer(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid ...")


def noise(folder: Path) -> None:
    (folder / "model-00001-of-00002.safetensors").write_bytes((4).to_bytes(8, "little") + b"nope")


def other_shard(folder: Path) -> None:
    save_file({"c": np.zeros(1, np.float32)}, str(folder / "model-00002-of-00002.safetensors"))


def broken_index(folder: Path) -> None:
    (folder / folders.INDEX).write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_config, "config.json: no such file"),
        (broken_config, "config.json: not JSON"),
        (list_config, "config.json: not a JSON object"),
        (emu3, "model_type is 'emu3', but janus needs 'janus'"),
        (original, "model_type is 'multi_modality', but janus needs 'janus'"),
        (no_shard, "model-00002-of-00002.safetensors: no such file which model.safetensors.index.json names"),
        (unfinished, "a download has not finished"),
        (pickled, "take safetensors instead"),
        (cut_data, "model-00001-of-00002.safetensors: .* a download was cut off"),
        (cut_header, "shorter than its own header"),
        (empty, "shorter than its own header"),
        (pointer, "git-lfs pointer"),
        (noise, "not a safetensors file"),
        (other_shard, "lacks b.weight, which model.safetensors.index.json says it holds"),
        (broken_index, "not an index of weights"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(weights: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(weights)
    with pytest.raises(InputError, match=says) as error:
        check(weights)
    assert "\n" not in str(error.value) and str(weights) in str(error.value)


@pytest.mark.parametrize("name", ["nowhere", "config.json"])
def test_not_a_folder(weights: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such folder: expected the downloaded weights of janus"):
        check(weights / name)


def retokenize(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"a": 1}')


def retrain(folder: Path) -> None:
    save_file({"b.weight": np.zeros(4, np.float16)}, str(folder / "model-00002-of-00002.safetensors"))


@pytest.mark.parametrize("change", [retokenize, retrain, emu3])
def test_fingerprint_tells_models_apart(weights: Path, change: Callable[[Path], None]) -> None:
    before = folders.fingerprint(weights)
    assert folders.fingerprint(weights) == before
    change(weights)
    assert folders.fingerprint(weights) != before


def test_fingerprint_does_not_count_notes(weights: Path) -> None:
    before = folders.fingerprint(weights)
    (weights / "README.md").write_text("a note")
    assert folders.fingerprint(weights) == before


# ---- torch's own files -----------------------------------------------------------------------------------------------


@pytest.fixture
def pickles(tmp_path: Path) -> Path:
    """Two shards of torch's own, and their index."""
    import torch

    tensors = {"a.weight": torch.zeros(2, 3), "b.weight": torch.ones(4)}
    files = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    for file, name in zip(files, tensors, strict=True):
        torch.save({name: tensors[name]}, tmp_path / file)
    (tmp_path / folders.PICKLED_INDEX).write_text(json.dumps({"weight_map": dict(zip(tensors, files, strict=True))}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return tmp_path


def test_torch_s_own_files_will_do_where_they_are_asked_for(pickles: Path) -> None:
    found = folders.check(pickles, family="seed_llama", model_type="llama", pickled=True)
    assert {name: shape for name, (_, shape) in found.tensors.items()} == {"a.weight": (2, 3), "b.weight": (4,)}
    with pytest.raises(InputError, match="take safetensors instead"):
        folders.check(pickles, family="seed_llama", model_type="llama")
    save_file({"c": np.zeros(1, np.float32)}, str(pickles / folders.SINGLE))
    assert list(folders.check(pickles, family="seed_llama", model_type="llama", pickled=True).tensors) == ["c"]


def test_a_pickled_shard_that_is_lost_or_another_s(pickles: Path) -> None:
    import torch

    second = pickles / "pytorch_model-00002-of-00002.bin"
    torch.save({"c": torch.zeros(1)}, second)
    with pytest.raises(InputError, match=f"{second.name}: lacks b.weight, which pytorch_model.bin.index.json says"):
        folders.check(pickles, family="seed_llama", model_type="llama", pickled=True)
    second.unlink()
    with pytest.raises(InputError, match=f"{second.name}: no such file which pytorch_model.bin.index.json names"):
        folders.check(pickles, family="seed_llama", model_type="llama", pickled=True)
