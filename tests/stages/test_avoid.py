"""Step 1 drops what matches benchmarks' prompts, counts it, and does not go on with drafts for other ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from silmm import lmm as models
from silmm.errors import InputError
from silmm.records import Prompt, read_jsonl
from silmm.report.funnel import AVOIDED
from silmm.settings import Prompts
from silmm.stages import prompts
from silmm.stages.worlds import WORLDS

REASONS = {"benchmark_exact", "benchmark_near"}


class Author:
    """Writes the texts in turn, whatever it is asked for."""

    world = "open"

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    def write(self, names: Sequence[str], keys: Sequence[tuple], *, temperature: float) -> list[str]:
        return [self.texts.pop(0) for _ in names]


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Write prompts of one sub-category after another; the texts that were kept, and the counts."""
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "val.txt").write_text("the red car and the blue dog\na round box and a square bag\n")

    def run(texts: Sequence[str], n: int = 2, **options: Any) -> tuple[list[str], dict[str, Any]]:
        monkeypatch.setattr(models, "load", lambda _: Author(texts))
        monkeypatch.setattr(models, "name_of", lambda _: "discrete")
        out, stats = tmp_path / "prompts.jsonl", tmp_path / "stats.json"
        keys = {"ckpt": tmp_path / "ckpt", "seed": 0, "iteration": 1, "out": out, "stats": stats}
        prompts.run(Prompts(n=n, attempts=3), **keys, **options)
        return [row.prompt for row in read_jsonl(out, Prompt)], json.loads(stats.read_text())

    return run


def test_what_matches_is_dropped_and_counted(tmp_path: Path, step, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    drafts = ["A red car and a blue dog.", "a square bag and a round box", "a blue car and a red dog", "an oval box"]
    kept, stats = step(drafts, avoid=(tmp_path / "val.txt",))
    assert kept == ["a blue car and a red dog", "an oval box"]
    assert {name: n for name, n in stats["dropped"].items() if n} == dict.fromkeys(REASONS, 1)
    assert stats["drafts"] == 4
    assert f"benchmark prompts: {tmp_path / 'val.txt'}: 2 prompts of 1 file\n" in capsys.readouterr().err
    assert {f"prompts_{reason}" for reason in REASONS} == set(AVOIDED)


@pytest.mark.parametrize("options", [{}, {"avoid": None}, {"avoid": ()}])
def test_without_any_nothing_is_dropped_or_counted(options: dict[str, Any], step) -> None:  # type: ignore[no-untyped-def]
    kept, stats = step(["A red car and a blue dog.", "a square bag and a round box"], **options)
    assert kept == ["A red car and a blue dog.", "a square bag and a round box"]
    assert set(stats["dropped"]) == {*WORLDS["open"].reasons, "duplicate", "unfilled"}


def test_drafts_for_other_benchmark_prompts_are_not_taken(tmp_path: Path, step, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    state, marks = tmp_path / "state/prompts", []
    real = prompts.in_blocks

    def noted(*args: Any, journal: Path, name: str) -> list[str]:
        marks.append(journal)
        return real(*args, journal=journal, name=name)

    monkeypatch.setattr(prompts, "in_blocks", noted)
    (tmp_path / "other.txt").write_text("a green cat\n")
    for avoid in (None, (tmp_path / "val.txt",), (tmp_path / "val.txt",), (tmp_path / "other.txt",)):
        step(["a pink cup and a black hat"], n=1, state=state, avoid=avoid)
    assert marks[1] == marks[2]
    assert len(set(marks)) == 3


def test_benchmark_prompts_that_are_not_there_stop_the_step(tmp_path: Path, step) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="none: no such file or folder"):
        step(["a pink cup and a black hat"], n=1, avoid=(tmp_path / "none",))
    assert not (tmp_path / "prompts.jsonl").exists()
