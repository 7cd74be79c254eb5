"""Folders of pipelines: what they are known by. What is refused is in tests/lmm/seed_llama/test_checkpoint.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from silmm.lmm.hf import pipeline

PARTS = ("scheduler/scheduler_config.json", "tokenizer/vocab.json", "unet/config.json", pipeline.INDEX)
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in PARTS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    save_file({"a": np.zeros(3, np.float32)}, str(tmp_path / WEIGHTS))
    return tmp_path


@pytest.mark.parametrize("name", [*PARTS, WEIGHTS])
def test_fingerprint_tells_pipelines_apart(folder: Path, name: str) -> None:
    before = pipeline.fingerprint(folder)
    assert pipeline.fingerprint(folder) == before
    if name == WEIGHTS:
        save_file({"a": np.ones(3, np.float32)}, str(folder / name))
    else:
        (folder / name).write_text('{"a": 1}')
    assert pipeline.fingerprint(folder) != before


def test_fingerprint_does_not_count_notes_and_traces_of_downloads(folder: Path) -> None:
    before = pipeline.fingerprint(folder)
    (folder / "README.md").write_text("a note")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "a.json").write_text("{}")
    assert pipeline.fingerprint(folder) == before
