"""Training metrics for TensorBoard, as they come. Event files carry times and the machine's name: no result holds them.

The writer is torch's own, on the package `tensorboard`, which a reader of curves needs in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from silmm.atomic import writing

EVENTS = "events.out.tfevents."  # how TensorBoard's files begin
OWN = ".silmm"  # how those written here end: nobody else's are removed


class Draw(Protocol):
    """Adds the metrics of a step to the curves."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None: ...


@contextmanager
def curves(folder: Path | None, log: Iterable[Mapping[str, Any]] = ()) -> Iterator[Draw]:
    """What draws in a folder, after the rows of `log` (`step`, and metrics); nothing without a folder.

    The rows of an interrupted training are drawn anew, in place of its files: these may hold steps that it did after
    its last state, and will do again, and may lack some that it did before.
    """
    if folder is None:
        yield lambda step, metrics: None
        return
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob(f"{EVENTS}*{OWN}"):
        old.unlink()

    def draw(step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)

    # A TensorBoard that is looking on forgets what it saw (`purge_step`).
    events = SummaryWriter(str(folder), purge_step=0, flush_secs=30, filename_suffix=OWN)
    with writing(folder), events as writer:
        for row in log:
            draw(int(row["step"]), {name: value for name, value in row.items() if name != "step"})
        yield draw
