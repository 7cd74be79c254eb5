"""Training state: when it is saved, what comes back, and what it is refused for."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from silmm.align import state as states
from silmm.errors import InputError


class Clock:
    """Seconds that only the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def saved_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch, every: int, step_s: float, save_s: float, steps: int
) -> list[float]:
    """When a training saves whose steps and saves take so long: seconds from its start to the end of each save."""
    clock, times = Clock(), []

    def save(*_: Any) -> None:
        clock.now += save_s
        times.append(clock.now)

    monkeypatch.setattr(states, "save", save)
    saver = states.Saver(folder, "mark", every, clock)
    for step in range(1, steps + 1):
        clock.now += step_s
        if saver.due():
            saver.save(step, {})
    return times


@pytest.mark.parametrize(
    ("every", "step_s", "save_s", "expected"),
    [
        (20, 0.5, 0.1, [10.1, 20.2, 30.3]),  # by steps
        (20, 7.0, 0.0, [63.0, 126.0, 189.0]),  # by the clock: the first step that ends after a minute
        (20, 1.0, 4.0, [24.0, 108.0, 192.0]),  # 4 s every 80
        (1, 1.0, 30.0, [31.0, 161.0, 291.0]),  # after 100 s, however long it takes
    ],
)
def test_it_is_saved_after_some_steps_or_a_minute_at_little_cost(
    every: int, step_s: float, save_s: float, expected: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = saved_at(tmp_path, monkeypatch, every, step_s, save_s, 300)
    assert times[:3] == pytest.approx(expected)


@pytest.mark.parametrize("step_s", [0.01, 1.0, 15.0])
@pytest.mark.parametrize("save_s", [0.0, 1.0, 4.9])
def test_no_more_than_two_minutes_are_ever_lost(
    step_s: float, save_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = saved_at(tmp_path, monkeypatch, 10**9, step_s, save_s, int(1000 / step_s))
    assert len(times) > 5
    assert max(after - before for before, after in itertools.pairwise([0.0, *times])) <= 120
    assert save_s * len(times) <= states.SHARE * times[-1] + save_s  # the first save is not known before


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    state = {
        "weights": [shared, shared.T, torch.zeros(0), torch.tensor(3, dtype=torch.int64)],
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "betas": [0.9, None]}]},
        "log": [{"step": 0, "loss": 0.1 + 0.2}],
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    states.save(tmp_path / "state", "mark", 7, state)
    step, back = states.load(tmp_path / "state", "mark") or (None, {})
    assert step == 7
    assert back["optimizer"]["param_groups"] == state["optimizer"]["param_groups"] and back["log"] == state["log"]
    assert list(back["optimizer"]["state"]) == [0]
    for own, kept in zip([*state["weights"], state["half"]], [*back["weights"], back["half"]], strict=True):
        assert own.dtype == kept.dtype and torch.equal(own, kept)


def test_nothing_is_left_of_a_finished_training_that_was_killed_while_it_saved(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    states.save(folder, "mark", 1, {"log": []})
    (folder / ".partial-state.safetensors").write_bytes(b"half")
    states.clear(folder)
    assert not folder.exists()


def test_a_state_of_others_or_a_cut_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert states.load(folder, "a") is None
    states.save(folder, "a", 3, {"weights": [torch.ones(2)]})
    with pytest.raises(InputError, match="training state of other settings or inputs: remove this folder"):
        states.load(folder, "b")
    whole = (folder / states.FILE).read_bytes()
    (folder / states.FILE).write_bytes(whole[:-4])
    with pytest.raises(InputError, match="damaged training state"):
        states.load(folder, "a")
    states.clear(folder)
    assert not folder.exists()


@pytest.mark.parametrize("content", [b"", b"half a file", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_state_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / states.FILE).write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path}: damaged training state .*: remove this folder"):
        states.load(tmp_path, "mark")


def test_the_fingerprint_tells_what_training_sees(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    row = np.arange(4, dtype=np.int64)
    marks = [
        states.fingerprint({}),
        states.fingerprint({"lr": 1}),
        states.fingerprint({}, [tmp_path]),
        states.fingerprint({}, (), [row]),
        states.fingerprint({}, (), [row.astype(np.int32)]),
        states.fingerprint({}, (), [row.reshape(2, 2)]),
        states.fingerprint({}, (), [row[::-1]]),
        states.fingerprint({}, (), [["a", "b"]]),
        states.fingerprint({}, (), [["ab"]]),
        states.fingerprint({}, (), [None]),
    ]
    assert len(set(marks)) == len(marks)
    assert states.fingerprint({}, (), [np.arange(8)[::2]]) == states.fingerprint({}, (), [2 * row])
    assert states.fingerprint({}, (), [np.zeros((0, 0), np.float32)])
