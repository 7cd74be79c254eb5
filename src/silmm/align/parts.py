"""A reference is computed in parts, for hours with billions of parameters: an interrupted one goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from tqdm import tqdm

from silmm.align import state as states
from silmm.align.team import Team


class Kept(NamedTuple):
    """Where the parts so far are, beside the state of the training that needs them, and of what they are made."""

    state: Path
    mark: str

    def folder(self, name: str, team: Team) -> Path:
        """Of one process's parts. Those of other settings or inputs are elsewhere: they are never read."""
        return self.state / "reference" / self.mark / f"{name}-{team.rank}-of-{team.size}"

    def remove(self) -> None:
        """Once the training that needed them has ended."""
        states.remove_kept(self.state / "reference")


def in_parts(
    starts: Sequence[int], compute: Callable[[int], Tensor], name: str, team: Team, kept: Kept | None
) -> list[Tensor]:
    """The parts that begin at these rows, of a process's own share; with a progress bar where they are kept."""
    if kept is None:
        return [_computed(compute, start, team) for start in starts]
    folder = kept.folder(name, team)
    found = states.load(folder, kept.mark)
    parts: list[Tensor] = found[1]["parts"] if found else []
    saver = states.Saver(folder, kept.mark, every=len(starts) + 1)  # by the clock alone
    bar = tqdm(total=len(starts), initial=len(parts), desc=name, mininterval=5, disable=not team.leads)
    for start in starts[len(parts) :]:
        parts.append(_computed(compute, start, team))
        bar.update()
        if saver.due():
            saver.save(len(parts), {"parts": parts})
    bar.close()
    return parts


def _computed(compute: Callable[[int], Tensor], start: int, team: Team) -> Tensor:
    part = compute(start)
    team.beat()
    return part
