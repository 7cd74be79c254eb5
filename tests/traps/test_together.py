"""An alignment goes on by another number of processes than began it, and one of several is killed as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from silmm.align import state as states
from silmm.align import trainer
from silmm.stages import align
from tests.align.test_curves import read

from .conftest import Files
from .test_resume import STEPS, Stop, bytes_of, run_align, step_of, stop_at


def rows_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]


def test_two_processes_go_on_where_one_was_stopped(
    iteration: Files, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run_align(tmp_path / "alone", iteration, ckpt)
    folder, curves = tmp_path / "two", tmp_path / "tensorboard"
    with monkeypatch.context() as patch:
        patch.setattr(align, "SAVE_EVERY", 2)
        patch.setattr(states, "SHARE", float("inf"))
        stop_at(patch, trainer, "train_step", 4, True)
        with pytest.raises(Stop):
            run_align(folder, iteration, ckpt, tensorboard=curves)
    assert step_of(folder / "state/state.safetensors") == 4
    two = run_align(folder, iteration, ckpt, tensorboard=curves, processes=2)
    assert not (folder / "state").exists()
    rows, wanted = rows_of(two), rows_of(alone)
    assert len(rows) == STEPS and rows[:4] == wanted[:4]  # of one process, each
    for one, other in zip(wanted[4:], rows[4:], strict=True):
        assert other == pytest.approx(one, rel=1e-2, abs=1e-3)
    weights = load_file(two / "model.safetensors")
    for name, one in load_file(alone / "model.safetensors").items():
        assert weights[name].shape == one.shape and float((weights[name] - one).abs().max()) < 2e-3, name
    assert read(curves) == [pytest.approx(row, rel=1e-6) for row in rows]


def members_of(parent: int) -> list[int]:
    """Processes whose parent this is, and that train."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.name))
        except OSError:
            continue
    return found


def trainers(parent: int) -> list[int]:
    """Those of them that train, and not the one that multiprocessing starts to look after its resources."""
    return [p for p in members_of(parent) if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.drill
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_killed_team_ends_in_the_bytes_of_an_unbroken_one(
    parallel: str, iteration: Files, ckpt: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    def command(folder: Path) -> list[str]:
        inputs = {"ckpt": ckpt, "pairs": iteration.pairs, "prompts": iteration.prompts, "qa": iteration.qa}
        keys = {"seed": 0, "iteration": 1, "out": folder / "ckpt", "state": folder / "state", "processes": 2}
        keys |= {"batch": 2, "epochs": 20, "parallel": parallel, "timeout": 10}
        options = [word for name, value in {**inputs, **keys}.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-m", "silmm", "align", *options, "--images", *map(str, iteration.images)]

    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    subprocess.run(command(unbroken), check=True)
    kills = 0
    for victim in ("launcher", "member", "stopped"):
        process = subprocess.Popen(command(broken), stderr=subprocess.PIPE, text=True)
        saved = (broken / "state/state.safetensors").stat().st_mtime_ns if (broken / "state").exists() else 0
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            file = broken / "state/state.safetensors"
            if file.exists() and file.stat().st_mtime_ns > saved:
                break
            time.sleep(0.01)
        members = members_of(process.pid)
        assert process.poll() is None and len(members) >= 2
        hit = process.pid if victim == "launcher" else max(trainers(process.pid))
        os.kill(hit, signal.SIGSTOP if victim == "stopped" else signal.SIGKILL)
        said = process.communicate(timeout=120)[1]
        assert process.returncode == (-signal.SIGKILL if victim == "launcher" else 2)
        assert "Traceback" not in said
        if victim != "launcher":
            why = "was killed by SIGKILL" if victim == "member" else "gave no sign of life for 10 s"
            assert f"silmm align: error: rank 1 of 2 (process {hit}) {why}" in said.splitlines()[-1]
        time.sleep(1)
        assert not [member for member in members if alive(member)]
        assert not (broken / "ckpt").exists()
        kills += 1
    subprocess.run(command(broken), check=True)
    assert bytes_of(broken / "ckpt") == bytes_of(unbroken / "ckpt")
    record_property("figure", f"{kills} kills, 0 files differ")
