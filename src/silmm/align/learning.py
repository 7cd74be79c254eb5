"""What changes while step 5 trains: weights, optimiser, log; begun anew or from a state, by one process or several."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch

from silmm.align import parallel, trainer
from silmm.align.objectives import Preferences, Reference
from silmm.align.team import Team
from silmm.lmm.interface import LMM
from silmm.settings import Align


class Learning(NamedTuple):
    """A training under way."""

    policy: LMM
    optimizer: torch.optim.Optimizer
    start: int  # the step to go on from
    log: list[dict[str, float]]  # the metrics of every step, with its number
    module: torch.nn.Module | None  # of several processes
    together: Any = None  # what makes a step of several processes

    def state(self) -> dict[str, Any]:
        """All of it, whole on every process, which all must ask for; it can be gone on from by any number of them."""
        state = {"weights": [p.detach() for p in self.policy.parameters()], "optimizer": self.optimizer.state_dict()}
        return {**(parallel.whole(state) if self.module else state), "log": self.log}

    def end(self) -> None:
        """Leave the policy with whole trained weights, on every process."""
        if self.module:
            parallel.put_together(self.module)


def begin(
    policy: LMM, data: Preferences, reference: Reference, settings: Align, team: Team,
    found: tuple[int, dict[str, Any]] | None,
) -> Learning:  # fmt: skip
    """A training from its first step, or from a state and the number of its steps. Weights are put back before several
    processes share them, the optimiser's state after."""
    start, saved = found or (0, None)
    if saved:
        with torch.no_grad():
            for own, kept in zip(policy.parameters(), saved["weights"], strict=True):
                own.copy_(kept)
    module = together = None
    if team.size > 1:
        module = parallel.shared(parallel.Objective(policy, data, reference, settings), settings.parallel, team)
    optimizer = trainer.new_optimizer(policy, settings)
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    if module:
        parallel.share_out(optimizer)
        together = partial(parallel.step, module, policy, optimizer, team, settings)
    return Learning(policy, optimizer, start, saved["log"] if saved else [], module, together)
