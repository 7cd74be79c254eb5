"""The benchmark of judges runs, and compares two ways to the same answers; its times are no test's business."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from bench import judges, stages
from silmm.benchmarks.judges.load import load
from silmm.benchmarks.judges.tiny import BUILDERS

pytestmark = pytest.mark.xdist_group("judges")
SMALL = {kind: ("tiny", {}) for kind in judges.KINDS}


@pytest.fixture(autouse=True)
def one_thread_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command fixes the threads of its process, and shows it no GPU: not of this one."""
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(judges, "KINDS", SMALL)


@pytest.mark.parametrize("kind", judges.KINDS)
def test_both_ways_do_the_same(kind: str, tmp_path: Path) -> None:
    judge = load("vqa", str(judges.make(kind, {}, tmp_path / kind)))
    own, anew = (way() for way in judges.answering(judge, 64, 2, judges.QUESTIONS).values())
    for row, others in zip(own, anew, strict=True):
        assert [a.text for a in row] == [b.text for b in others]
        for one, other in zip(row, others, strict=True):
            assert one.probs == pytest.approx(other.probs, rel=1e-4)


def test_the_sizes_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert set(judges.KINDS) <= set(BUILDERS) and len(judges.QUESTIONS) == 13
    for kind, (_, sizes) in judges.KINDS.items():
        assert load("vqa", str(judges.make(kind, sizes, tmp_path / kind))).card.role == "vqa"


def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "judges.csv"
    words = ["bench.judges", "--pictures", "1", "--side", "48", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    judges.main()
    with out.open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert tuple(found[0]) == stages.COLUMNS
    assert [row["op"] for row in found] == ["answer, blip-vqa"] * 2 + ["answer, qwen3-vl"] * 2
    assert all(float(row["median_ms"]) > 0 for row in found)


def test_seconds_of_a_judges_calls_are_counted(tmp_path: Path) -> None:
    judge = judges.Clocked(load("vqa", str(judges.make("blip", {}, tmp_path / "blip"))))
    assert judge.card.role == "vqa" and judge.seconds == 0
    assert judge.answer([], []) == [] and judge.seconds > 0
