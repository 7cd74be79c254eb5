"""TensorBoard's own reader finds in the event files what the log says: every step once, after an interruption too."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from silmm.align.curves import EVENTS, curves

ROWS = [{"step": step, "loss": 0.7 - step / 100, "rewards/margins": step / 10} for step in range(5)]


def read(folder: Path) -> list[dict[str, float]]:
    """Rows as in a log."""
    found = EventAccumulator(str(folder)).Reload()
    rows: dict[int, dict[str, float]] = {}
    for name in found.Tags()["scalars"]:
        for event in found.Scalars(name):
            assert name not in rows.setdefault(event.step, {"step": event.step})
            rows[event.step][name] = event.value
    return [rows[step] for step in sorted(rows)]


def drawn(folder: Path, log: list[dict[str, float]], rows: list[dict[str, float]]) -> None:
    with curves(folder, log) as draw:
        for row in rows:
            draw(int(row["step"]), {name: value for name, value in row.items() if name != "step"})


def test_curves_are_the_log_and_go_on_without_doubled_steps(tmp_path: Path) -> None:
    drawn(tmp_path, [], ROWS[:4])
    assert read(tmp_path) == [pytest.approx(row) for row in ROWS[:4]]
    (tmp_path / "notes.txt").write_text("mine")
    drawn(tmp_path, ROWS[:2], [{**row, "loss": 0.1} for row in ROWS[2:]])  # its last state was after two steps
    assert read(tmp_path) == [pytest.approx(row if i < 2 else {**row, "loss": 0.1}) for i, row in enumerate(ROWS)]
    assert len(list(tmp_path.glob(f"{EVENTS}*"))) == 1 and (tmp_path / "notes.txt").exists()


def test_without_a_folder_nothing_is_drawn() -> None:
    with curves(None) as draw:
        draw(0, {"loss": 1.0})
