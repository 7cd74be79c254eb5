"""The evaluations that a summary gathers: which run, which policy, which files."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path

from silmm.errors import InputError

BASE, MAIN, CONTROL, UNTRAINED = "base", "main", "control", "untrained"
# What an arm is to its run. `untrained`: it has one iteration, and every iteration of the main arm is held against it.
ROLES = (MAIN, CONTROL, UNTRAINED)
CONTROLS = ("kc_dpo", "dpo", "sft", "random_score")  # their order in tables; other controls follow by name


@dataclasses.dataclass(frozen=True)
class Entry:
    """One evaluated policy: `base` is iteration 0, an arm's policy after training step t is iteration t."""

    lmm: str
    arm: str
    seed: int
    iteration: int
    eval: Path
    stats: Path
    role: str = CONTROL
    """One of ROLES; the base is known by its arm, whatever its role."""

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What names the policy in every table."""
        return self.lmm, self.arm, self.seed, self.iteration

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.lmm}/seed{self.seed}/{self.arm}/iter{self.iteration}"


@dataclasses.dataclass(frozen=True)
class Step:
    """One iteration of an arm: `dir` is the folder of its files, of its checkpoint, or of the times of its jobs."""

    lmm: str
    arm: str
    seed: int
    iteration: int
    dir: Path
    role: str = CONTROL


@dataclasses.dataclass(frozen=True)
class Policy:
    """A policy to draw with: its checkpoint folder; the base is iteration 0."""

    lmm: str
    iteration: int
    dir: Path


def arm_order(arm: str, role: str) -> tuple[int, int, str]:
    """Sort key of an arm in tables: base, main arm, controls (the known ones first), untrained arms."""
    rank = 0 if arm == BASE else 1 + ROLES.index(role)
    return rank, (CONTROLS.index(arm) if arm in CONTROLS else len(CONTROLS)), arm


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """The entries in the order of the tables, checked.

    Raises:
        InputError: a policy twice; a (lmm, seed) without a base; an arm with two roles; an LMM that has arms, but not
            one main arm.
    """
    found = sorted(entries, key=lambda e: (e.lmm, arm_order(e.arm, e.role), e.seed, e.iteration))
    for before, after in itertools.pairwise(sorted(found, key=lambda e: e.key)):
        if before.key == after.key:
            raise InputError(f"{after.name} is listed twice: {before.eval} and {after.eval}")
    bases = {(e.lmm, e.seed) for e in found if e.arm == BASE}
    for e in found:
        if e.arm == BASE and e.iteration != 0:
            raise InputError(f"{e.name}: the base is iteration 0")
        if (e.lmm, e.seed) not in bases:
            raise InputError(f"{e.name} has no base to be compared with: add {e.lmm}/seed{e.seed}/{BASE}")
    _check_roles([e for e in found if e.arm != BASE])
    return found


def _check_roles(found: list[Entry]) -> None:
    roles: dict[tuple[str, str], str] = {}
    for e in found:
        if roles.setdefault((e.lmm, e.arm), e.role) != e.role:
            raise InputError(f"{e.name}: the arm is {e.role} here, and {roles[e.lmm, e.arm]} in another entry")
    for lmm in sorted({e.lmm for e in found}):
        names = [arm for (of, arm), role in roles.items() if (of, role) == (lmm, MAIN)]
        if len(names) != 1:
            arms = ", ".join(names) or "none"
            raise InputError(f"{lmm}: one arm must be the main one (role={MAIN} in its entries), not {arms}")
