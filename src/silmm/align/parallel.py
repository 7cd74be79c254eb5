"""A step of training by several processes: the gradient of the whole batch, whatever their number, to rounding.

The pairs of a batch are dealt out in waves, in each of which every process has as many pairs as the others. With DDP
each process has all weights; with FSDP (torch's second, `fully_shard`) each has a part of every weight, and a layer is
put together when it is its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from silmm.align.objectives import Preferences, Reference, objective
from silmm.align.team import Team
from silmm.lmm.interface import LMM
from silmm.settings import Align

Text = tuple[str, str, str]


class Objective(nn.Module):
    """A policy's losses as a torch module: what DDP and FSDP do before and after it, they do around `forward`."""

    def __init__(self, policy: LMM, data: Preferences, reference: Reference, settings: Align) -> None:
        super().__init__()
        self.learners = nn.ModuleList(policy.learners())
        self.given = policy, data, reference, settings

    def forward(self, rows: np.ndarray, texts: Sequence[Text]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and metrics of the pairs with these numbers; without numbers, those of texts."""
        policy, data, reference, settings = self.given
        if len(rows):
            return objective(policy, data, reference, settings, rows)
        text_loss = policy.text_nll(texts)
        return settings.text_weight * text_loss, {"text_loss": text_loss.detach()}


class Wave(NamedTuple):
    """What one process does of a batch while the others do as much."""

    rows: np.ndarray  # numbers of pairs
    share: float  # of the batch; 0 where the pairs only keep the process busy


def waves(rows: np.ndarray, team: Team, most: int) -> Iterator[Wave]:
    """Deal a batch out, at most `most` pairs a process at a time (0: no limit).

    FSDP needs all processes at every pass, so that pairs that are left over, fewer than there are processes, are a
    wave of one pair each, in which some processes repeat the first, for nothing.
    """
    done = 0
    while done < len(rows):
        each = max(1, (len(rows) - done) // team.size)
        each = min(each, most) if most else each
        start = done + team.rank * each
        own = rows[start : start + each]
        yield Wave(own, len(own) / len(rows)) if len(own) else Wave(rows[:1], 0.0)
        done += team.size * each


def shared(task: Objective, kind: str, team: Team) -> nn.Module:
    """The module whose gradients are those of all processes: `kind` is `ddp` or `fsdp`."""
    if kind == "ddp":
        return team.accelerator.prepare_model(task)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(team.accelerator.device.type, (team.size,))
    # Layers, by what transformers itself would not split; all else is one more part, the module's own.
    names = {name for part in task.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    for part in [part for part in task.modules() if type(part).__name__ in names]:
        fully_shard(part, mesh=mesh)
    fully_shard(task, mesh=mesh)  # in place
    return task


def step(
    module: nn.Module, policy: LMM, optimizer: torch.optim.Optimizer, team: Team, settings: Align, rows: np.ndarray,
    texts: Sequence[Text],
) -> dict[str, float]:  # fmt: skip
    """One optimiser step on the pairs with these numbers and on texts; returns TRL's metrics, of all processes."""
    optimizer.zero_grad(set_to_none=True)
    nothing = np.zeros(0, np.int64)
    # Every process has the same texts: a mean over tokens is no mean of means.
    passes = [(nothing, texts, 1 / team.size)] if texts else []
    passes += [(wave.rows, (), wave.share) for wave in waves(rows, team, settings.rows)]
    metrics: dict[str, Tensor] = {}
    for number, (own, said, share) in enumerate(passes):
        with _unsynchronised(module) if number + 1 < len(passes) else nullcontext():
            loss, found = module(own, said)
            if loss.requires_grad:  # not where other weights write than those that learn
                (team.size * share * loss).backward()  # gradients are averaged over the processes
        team.beat()
        metrics = metrics | {name: metrics.get(name, 0.0) + share * value.double() for name, value in found.items()}
    means_K = team.total(torch.stack([value.cpu() for value in metrics.values()]))
    norm = whole(torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0))
    optimizer.step()
    return {**dict(zip(metrics, means_K.tolist(), strict=True)), "grad_norm": float(norm)}


@contextmanager
def _unsynchronised(module: Any) -> Iterator[None]:
    """Inside, gradients stay with the process that made them, and add up."""
    if hasattr(module, "no_sync"):  # DDP
        with module.no_sync():
            yield
        return
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def whole(state: Any) -> Any:
    """A tensor, or lists and dictionaries of them, with all parts of those that processes share. All must call it."""
    if isinstance(state, dict):
        return {name: whole(value) for name, value in state.items()}
    if isinstance(state, list):
        return [whole(value) for value in state]
    return state.full_tensor() if hasattr(state, "full_tensor") else state


def share_out(optimizer: torch.optim.Optimizer) -> None:
    """Cut the state that was loaded, of whole weights, as the weights are cut. All must call it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    for weight, state in optimizer.state.items():
        if isinstance(weight, DTensor):
            for name, value in state.items():
                if value.shape == weight.shape:
                    state[name] = distribute_tensor(value, weight.device_mesh, weight.placements)


def put_together(module: nn.Module) -> None:
    """Put whole weights in the places of those that were cut and have been trained; for the end of training, so that a
    policy can save itself. All must call it."""
    from torch.distributed.tensor import DTensor

    done: dict[nn.Parameter, nn.Parameter] = {}  # a weight may have two places
    for part in module.modules():
        for name, weight in part.named_parameters(recurse=False):
            if weight.requires_grad and isinstance(weight, DTensor):
                if weight not in done:
                    done[weight] = nn.Parameter(weight.full_tensor())
                setattr(part, name, done[weight])
