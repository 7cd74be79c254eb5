"""The evaluations that a summary gathers: which run, which policy, which files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path

from silmm.errors import InputError

BASE = "base"
ARMS = (BASE, "silmm", "dpo", "sft", "random_score", "best_of_n")  # the order of tables; other arms follow by name
MAIN_ARM = "silmm"
DEFAULT_SAMPLERS = ("t1.0", "fresh_noise")  # of a discrete and of a continuous LMM
UNTRAINED = ("best_of_n",)  # arms without training: they have one iteration, and every iteration is held against it


@dataclasses.dataclass(frozen=True)
class Entry:
    """One evaluated policy: `base` is iteration 0, an arm's policy after training step t is iteration t."""

    lmm: str
    arm: str
    seed: int
    iteration: int
    eval: Path
    stats: Path

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What names the policy in every table."""
        return self.lmm, self.arm, self.seed, self.iteration

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.lmm}/seed{self.seed}/{self.arm}/iter{self.iteration}"


def arm_order(arm: str) -> tuple[int, str]:
    """Sort key of an arm in tables: the known arms in their order, then the others by name."""
    return (ARMS.index(arm) if arm in ARMS else len(ARMS)), arm


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in the order of the tables, checked: no policy twice, and a base for every (lmm, seed)."""
    found = sorted(entries, key=lambda e: (e.lmm, arm_order(e.arm), e.seed, e.iteration))
    for before, after in itertools.pairwise(found):
        if before.key == after.key:
            raise InputError(f"{after.name} is listed twice: {before.eval} and {after.eval}")
    bases = {(e.lmm, e.seed) for e in found if e.arm == BASE}
    for e in found:
        if e.arm == BASE and e.iteration != 0:
            raise InputError(f"{e.name}: the base is iteration 0")
        if (e.lmm, e.seed) not in bases:
            raise InputError(f"{e.name} has no base to be compared with: add {e.lmm}/seed{e.seed}/{BASE}")
    return found
