"""An interrupted alignment, wherever it stopped, ends in the bytes of an unbroken one, and never on other inputs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from silmm import lmm as models
from silmm import sources
from silmm.align import objectives, trainer
from silmm.align import state as states
from silmm.errors import InputError
from silmm.lmm.shapeworld import checkpoint
from silmm.records import PromptQuestions, read_jsonl, write_jsonl
from silmm.settings import Align
from silmm.stages import align

from .conftest import Files

SETTINGS = Align(batch=4, epochs=3, lr=1e-3)
STEPS = 9


class Stop(Exception):
    """Stands in for a kill: nothing in the code under test knows it."""


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run_align(folder: Path, files: Files, base: Path, settings: Align = SETTINGS, **changes: Any) -> Path:
    """Align into folder/ckpt, with state in folder/state; keywords replace the inputs."""
    inputs = {"ckpt": base, "pairs": files.pairs, "prompts": files.prompts, "qa": files.qa}
    keys = {"images": files.images, "seed": 0, "iteration": 1, "threads": 1, "state": folder / "state"}
    align.run(settings, **{**inputs, **keys, **changes}, out=folder / "ckpt")
    return folder / "ckpt"


def step_of(state: Path) -> int:
    """The number of steps that a state file was saved after."""
    with safe_open(state, "pt") as file:
        return json.loads(file.metadata()["note"])["step"]


@pytest.fixture(scope="module")
def unbroken(iteration: Files, ckpt: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an alignment that nothing disturbed (and that saved no state)."""
    folder = tmp_path_factory.mktemp("unbroken")
    made = bytes_of(run_align(folder, iteration, ckpt))
    assert [path.name for path in folder.iterdir()] == ["ckpt"]
    assert len(made["training.jsonl"].splitlines()) == STEPS
    return made


@pytest.fixture
def run(iteration: Files, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Align in tmp_path, saving state every other step, however long that takes."""
    monkeypatch.setattr(align, "SAVE_EVERY", 2)
    monkeypatch.setattr(states, "SHARE", float("inf"))
    return lambda **changes: run_align(tmp_path, iteration, ckpt, **changes)


def stop_at(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, call: int, after: bool) -> None:
    """Raise Stop at the given call of a function, before or after its work."""
    right = getattr(owner, name)
    calls = iter(range(1000))

    def broken(*given: Any, **keywords: Any) -> Any:
        now = next(calls) == call
        if now and not after:
            raise Stop
        result = right(*given, **keywords)
        if now:
            raise Stop
        return result

    monkeypatch.setattr(owner, name, broken)


@pytest.mark.parametrize(
    ("owner", "name", "call", "after", "kept"),
    [
        (trainer, "train_step", 0, False, None),  # before the first step
        (trainer, "train_step", 4, True, 4),  # in a step
        (states, "save_file", 1, True, 2),  # in a save
        (checkpoint, "save_weights", 0, True, 8),  # between two files of the checkpoint
        (states, "clear", 0, False, 8),  # after the checkpoint, before the state is removed
    ],
)
def test_a_broken_run_ends_in_the_bytes_of_an_unbroken_one(
    owner: object, name: str, call: int, after: bool, kept: int | None, run: Callable[..., Path],
    unbroken: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call, after)
        with pytest.raises(Stop):
            run()
    assert (tmp_path / "ckpt").exists() == (name == "clear")
    kept_there = tmp_path / "state" / states.FILE
    assert kept_there.exists() == (kept is not None)
    assert kept is None or step_of(kept_there) == kept
    steps = []
    with monkeypatch.context() as patch:
        step = trainer.train_step
        patch.setattr(trainer, "train_step", lambda *a: steps.append(a[5]) or step(*a))
        assert bytes_of(run()) == unbroken
    assert steps == list(range(kept or 0, STEPS))
    assert not (tmp_path / "state").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_state_is_never_continued_with_other_inputs(
    run: Callable[..., Path], iteration: Files, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, trainer, "train_step", 4, True)
        with pytest.raises(Stop):
            run()
    other_qa = tmp_path / "qa.jsonl"
    records = read_jsonl(iteration.qa, PromptQuestions)
    write_jsonl(other_qa, [dataclasses.replace(records[0], questions=records[0].questions[:1]), *records[1:]])
    other_ckpt = tmp_path / "other"
    shutil.copytree(ckpt, other_ckpt)
    policy = models.load(ckpt)
    with torch.no_grad():
        policy.parameters()[0][0, 0] += 1
    policy.save(other_ckpt)
    before = (tmp_path / "state" / states.FILE).read_bytes()
    for changes in (
        {"settings": dataclasses.replace(SETTINGS, lr=2e-3)},
        {"seed": 1},
        {"iteration": 2},
        {"threads": 2},
        {"qa": other_qa},
        {"ckpt": other_ckpt},
    ):
        with pytest.raises(InputError, match="training state of other settings or inputs"):
            run(**changes)
        assert not (tmp_path / "ckpt").exists()
    assert (tmp_path / "state" / states.FILE).read_bytes() == before


def test_the_cached_reference_disturbs_no_random_number(iteration: Files, ckpt: Path) -> None:
    data = align.load_preferences(iteration.pairs, iteration.prompts, iteration.qa, iteration.images)
    weights = []
    for torch_seed, times in ((0, 1), (1, 3)):
        torch.manual_seed(torch_seed)
        policy = models.load(ckpt)
        before = torch.get_rng_state()
        for _ in range(times):
            reference = objectives.reference_logps(policy, data)
        assert torch.equal(torch.get_rng_state(), before)
        optimizer = trainer.new_optimizer(policy, SETTINGS)
        trainer.train(policy, data, reference, SETTINGS, key=(0, "align", 1), optimizer=optimizer)
        weights.append([p.detach().clone() for p in policy.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_an_edit_of_another_family_voids_no_state(
    run: Callable[..., Path], unbroken: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "checkout"
    package = checkout / "src/silmm"
    shutil.copytree(sources.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copytree(sources.ROOT / "csrc", checkout / "csrc")
    monkeypatch.setattr(sources, "ROOT", checkout)
    monkeypatch.setattr(sources, "PACKAGE", package)

    def edit(name: str, text: str) -> None:
        (package / "lmm" / name).write_text(text)
        for remembered in (sources.source_hash, sources._imports):
            remembered.cache_clear()

    edit("seed_llama/unclip.py", "")
    with monkeypatch.context() as patch:
        stop_at(patch, trainer, "train_step", 4, True)
        with pytest.raises(Stop):
            run()
    own = package / "lmm/shapeworld/decode.py"
    right = own.read_text()
    edit("shapeworld/decode.py", right + "# edited\n")
    with pytest.raises(InputError, match="training state of other settings or inputs"):
        run()
    edit("shapeworld/decode.py", right)
    edit("seed_llama/unclip.py", "# edited\n")
    edit("shapeworld/flow.py", "# edited\n")  # of the continuous LMM alone
    assert bytes_of(run()) == unbroken
    edit("seed_llama/unclip.py", "")  # so that nothing of the copy is remembered
