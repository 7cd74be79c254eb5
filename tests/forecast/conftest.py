"""A folder to plan in: the project's config, and tiny weights as the configs name them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Snakemake would work: config/ is there, and no weights are."""
    shutil.copytree(CONFIG, tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights that config/paper/*.yaml name, tiny."""
    from silmm.lmm.emu3 import tiny as emu3
    from silmm.lmm.janus import tiny as janus

    root = tmp_path_factory.mktemp("weights")
    janus.build(root / "Janus-Pro-7B")
    emu3.build(root / "Emu3-Gen-hf", seed=0)
    emu3.build(root / "Emu3-Chat-hf", seed=1)
    return root
