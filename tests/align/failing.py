"""A member that fails while another one waits for it."""

from __future__ import annotations

import time

from silmm.align.team import Place
from silmm.errors import InputError


def fail(place: Place) -> None:
    if place.rank == 1:
        raise InputError("pairs.parquet: not what it should be")
    time.sleep(300)
