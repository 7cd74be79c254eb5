"""Members that fail, die or hang while another one waits for them."""

from __future__ import annotations

import os
import time

import torch

from silmm.align.team import Place, Team, meet
from silmm.errors import InputError


def fail(place: Place) -> None:
    if place.rank == 1:
        raise InputError("pairs.parquet: not what it should be")
    time.sleep(300)


def met(place: Place) -> Team:
    team = meet(*place, torch.device("cpu"))
    team.total(torch.ones(1))
    return team


def signalled(number: int, place: Place) -> None:
    """The last one gets a signal while the others wait for it."""
    team = met(place)
    if team.rank == team.size - 1:
        os.kill(os.getpid(), number)
    team.total(torch.ones(1))


def lost(place: Place) -> None:
    """The last one lives, and does nothing."""
    team = met(place)
    if team.rank == team.size - 1:
        time.sleep(300)
    team.total(torch.ones(1))


def broken(place: Place) -> None:
    """A bug in the last one, whose end is a further error for the others."""
    team = met(place)
    if team.rank == team.size - 1:
        raise ZeroDivisionError("a bug")
    team.total(torch.ones(1))
