"""The processes that train together: what each of them does, and what they tell each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Place(NamedTuple):
    """Where a process stands among those that were started together, and the file through which they meet."""

    rank: int
    size: int
    rendezvous: str  # file://...
    beat: Callable[[], None]  # says that this process has got further


def _alone() -> None:
    """Nobody waits."""


class Team(NamedTuple):
    """A process's place among those that train together; one alone by default."""

    rank: int = 0
    size: int = 1
    accelerator: Any = None  # accelerate's, of several
    beat: Callable[[], None] = _alone  # to be called after every part of the work, and before waiting for the others

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def own(self, parts: Sequence[T]) -> Sequence[T]:
        """This process's share of parts that each can do as well as the others."""
        return parts[self.rank :: self.size]

    def joined(self, own: Sequence[T]) -> list[T]:
        """What all processes made of their `own` parts, in the order of the parts; every process gets all."""
        if self.accelerator is None:
            return list(own)
        self.beat()
        from accelerate.utils import gather_object

        numbers = range(self.rank, self.rank + self.size * len(own), self.size)
        pairs = gather_object(list(zip(numbers, own, strict=True)))
        return [part for _, part in sorted(pairs, key=lambda pair: pair[0])]

    def total(self, values_K: Tensor) -> Tensor:
        """The sum over all processes, elementwise, on the CPU."""
        if self.accelerator is None:
            return values_K
        self.beat()
        return self.accelerator.reduce(values_K.to(self.accelerator.device), "sum").cpu()

    def agreed(self, answer: bool) -> bool:
        """The first process's answer."""
        return bool(self.total(torch.tensor([float(answer and self.leads)]))[0])


ALONE = Team()


def meet(rank: int, size: int, rendezvous: str, beat: Callable[[], None], device: torch.device) -> Team:
    """This process's team of so many, which meet through a file; `device`: where the policy is."""
    import torch.distributed as dist
    from accelerate import Accelerator, DistributedDataParallelKwargs

    backend = "gloo" if device.type == "cpu" else "nccl"
    # How long they wait for each other is the launcher's to say, which can tell whose fault it is.
    dist.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=size, timeout=timedelta(days=30))
    # Weights that a batch has no use for: a continuous LMM's head over words, where it learns no texts.
    ddp = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[ddp])
    beat()
    return Team(rank, size, accelerator, beat)
