"""Trainings that one process does, or several together: new processes find this module by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from silmm import lmm as models
from silmm.align import trainer
from silmm.align.learning import begin
from silmm.align.objectives import FeatureReference, Preferences, reference_of
from silmm.align.team import ALONE, Place, Team, meet
from silmm.settings import Align

KEY = (0, "align", 1)


class Case(NamedTuple):
    """One training."""

    ckpt: Path
    data: Preferences
    settings: Align


def trained(case: Case, team: Team = ALONE) -> dict[str, Any]:
    """Reference, metrics of every step, weights, and how much of the first this process held while it trained."""
    policy = models.load(case.ckpt)
    reference = reference_of(policy, case.data, case.settings, team)
    learning = begin(policy, case.data, reference, case.settings, team, None)
    held = policy.parameters()[0]
    seen = held.to_local().numel() if hasattr(held, "to_local") else held.numel()
    trainer.train(
        policy, case.data, reference, case.settings, key=KEY, optimizer=learning.optimizer,
        after_step=lambda step, metrics: learning.log.append(metrics), together=learning.together,
    )  # fmt: skip
    state = learning.state()
    learning.end()
    weights = [p.detach().clone() for p in policy.parameters()]
    saved = case.ckpt.with_name(f"{case.ckpt.name}-{case.settings.parallel}-{team.rank}-of-{team.size}")
    saved.mkdir(exist_ok=True)
    policy.save(saved)
    for kept in (state["weights"], models.load(saved).parameters()):
        assert all(torch.equal(a, b) for a, b in zip(weights, kept, strict=True))
    rows = reference.feats if isinstance(reference, FeatureReference) else reference.chosen_M
    return {"reference": rows, "log": learning.log, "weights": weights, "held": seen}


def train_all(cases: dict[str, Case], out: Path, place: Place) -> None:
    """In each of several processes; the last one writes what came out, so that none is taken for granted."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    team = meet(*place, torch.device("cpu"))
    found = {name: trained(case, team) for name, case in cases.items()}
    if team.rank == team.size - 1:
        torch.save(found, out)
