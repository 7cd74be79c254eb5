"""A reference that was interrupted goes on with the parts that it has, and never with those of something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from silmm.align import state as states
from silmm.align.parts import Kept, in_parts
from silmm.align.team import ALONE, Team

MARK = "0123456789abcdef" * 2  # as a fingerprint is written
STARTS = range(0, 10, 2)


class Stop(Exception):
    """Stands in for a kill."""


def parts_until(last: int, computed: list[int]) -> Callable[[int], Tensor]:
    def compute(start: int) -> Tensor:
        if start > last:
            raise Stop
        computed.append(start)
        return torch.full((2,), float(start))

    return compute


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part takes longer than what may be lost."""
    monkeypatch.setattr(states, "SECONDS", 0.0)
    monkeypatch.setattr(states, "SHARE", float("inf"))


@pytest.mark.usefixtures("always")
def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    kept, computed = Kept(tmp_path, MARK), []
    with pytest.raises(Stop):
        in_parts(STARTS, parts_until(4, computed), "chosen", ALONE, kept)
    parts = in_parts(STARTS, parts_until(8, computed), "chosen", ALONE, kept)
    assert computed == [0, 2, 4, 6, 8]
    assert torch.cat(parts).tolist() == [0, 0, 2, 2, 4, 4, 6, 6, 8, 8]
    in_parts(STARTS, parts_until(8, computed), "chosen", ALONE, kept)
    assert len(computed) == 5  # a finished one is not computed again while its training lasts
    kept.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("mark", "name", "team"), [("other", "chosen", ALONE), (MARK, "rejected", ALONE), (MARK, "chosen", Team(0, 2))]
)
def test_parts_of_something_else_are_not_taken(mark: str, name: str, team: Team, tmp_path: Path) -> None:
    in_parts(STARTS, parts_until(8, []), "chosen", ALONE, Kept(tmp_path, MARK))
    computed: list[int] = []
    in_parts(STARTS, parts_until(8, computed), name, team, Kept(tmp_path, mark))
    assert computed == list(STARTS)


def test_what_takes_no_time_is_not_written(tmp_path: Path) -> None:
    in_parts(STARTS, parts_until(8, []), "chosen", ALONE, Kept(tmp_path, MARK))
    assert not list(tmp_path.iterdir())
