"""Small files that ask for much: each is refused in one line, quickly, by a process that may take little memory."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from silmm import arms, config_files, typed_json
from silmm import lmm as models
from silmm.align import state
from silmm.errors import InputError
from silmm.lmm.hf import pickled
from silmm.model_sizes import on_meta
from silmm.records import SCORES, read_table
from tests.fuzz.memory import Peak, room

ROOT = Path(__file__).parents[1]
GROWTH, SECONDS = 256 << 20, 5


def refused(read: Callable[[], object], says: str) -> None:
    """InputError with these words, within the limits."""
    peak, start = Peak(), time.process_time()
    with room(4 << 30), pytest.raises(InputError, match=says) as error:
        read()
    assert "\n" not in str(error.value)
    assert time.process_time() - start < SECONDS
    assert peak.growth() < GROWTH


@pytest.fixture(params=["discrete", "continuous"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / f"checkpoints/{request.param}_seed0", tmp_path / "ckpt"))


@pytest.mark.parametrize(
    "changes",
    [
        dict.fromkeys(["hidden_size", "intermediate_size", "num_hidden_layers"]),
        {"num_hidden_layers": 2**31}, {"num_hidden_layers": 90}, {"hidden_size": 2**20}, {"head_dim": 2**31},
        {"vocab_size": 2**40}, {"num_key_value_heads": 2**31},
    ],
)  # fmt: skip
def test_a_config_of_more_than_the_weights_hold(folder: Path, changes: dict[str, int | None]) -> None:
    file = folder / "config.json"
    fields = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))
    refused(lambda: models.load(folder), "config.json: .*weights beside it are 41 tensors")


def test_modules_without_weights_are_counted(tmp_path: Path) -> None:
    def make() -> None:
        with on_meta(tmp_path / "config.json", {"a": (3,)}):
            torch.nn.ModuleList(torch.nn.Sequential(torch.nn.Identity()) for _ in range(10**9))

    refused(make, "more than 1,010 modules")


def test_keys_are_compared_in_linear_time() -> None:
    text = json.dumps({str(i): 0 for i in range(100_000)})
    refused(lambda: typed_json.loads(text[:-1] + ', "99999": 1}'), "'99999' is there twice")


def test_yaml_that_doubles(tmp_path: Path) -> None:
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 10)]
    for text, says in (("\n".join(lines), "aliases that make more than"), ("a: &a {b: *a}", "alias of what it is in")):
        file = tmp_path / "a.yaml"
        file.write_text(text + "\n")
        refused(lambda file=file: config_files.read(file), f"a.yaml:[0-9]+: .*{says}")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"iterations": 100_000_000}, "iterations is 100000000: must be a whole number, 1 to 100"),
        ({"shards": 10**9}, "shards is 1000000000"),
        ({"seeds": list(range(100_000))}, "seeds has 100,000 items: must have at most 1000"),
        ({"prompts": {"n": 10**12}}, "prompts.n is 1000000000000: must be at most 10000000"),
        ({"pretrain": {"layers": 10**6}}, "pretrain.layers is 1000000: must be at most 1000"),
        ({"arms": {f"a{i}": {} for i in range(10_000)}}, "must be at most 500"),
    ],
)
def test_configs_of_more_than_can_be_run(changes: dict[str, object], says: str) -> None:
    config = config_files.read(ROOT / "config/default.yaml")
    if "arms" in changes:
        changes = {"arms": {**config["arms"], **changes["arms"]}}  # type: ignore[dict-item]
    refused(lambda: arms.plans(config | changes), says)


def test_torch_files_that_unpack_to_more(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(1000)}, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, old.read(member))
    refused(lambda: pickled.read_state(tmp_path / "b.pt"), "is compressed, as torch never writes it")
    torch.save({"a": torch.zeros(1).expand(2**20, 2**20)}, file)
    refused(lambda: pickled.read_state(file), "bytes that claim tensors of 4,398,046,511,104")


def test_tables_that_become_huge(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.repeat(0, 20_000_000)}), file)
    assert file.stat().st_size < 100_000
    refused(lambda: read_table(file, SCORES), "in memory: expected at most 67,108,864")
    pq.write_table(pa.table({"a": pa.repeat("x" * 100_000, 2000)}), file)
    refused(lambda: read_table(file, SCORES), "bytes that become 200,000,000 of text")


def test_a_tensor_of_training_state_is_there_once(tmp_path: Path) -> None:
    state.save(tmp_path, "mark", 1, {"a": torch.zeros(1000)})
    file = tmp_path / state.FILE
    note = b'{\\"tensor\\": \\"0\\"}'
    content = file.read_bytes()
    assert note in content
    twice = content.replace(note, b"[" + note + b", " + note + b"]")
    length = int.from_bytes(content[:8], "little") + len(twice) - len(content)
    file.write_bytes(length.to_bytes(8, "little") + twice[8:])
    refused(lambda: state.load(tmp_path, "mark"), "damaged training state")
