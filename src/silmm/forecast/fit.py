"""What does not fit into a device's memory, and the first setting to change until it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from silmm.forecast.memory import Phase

RESERVE = 1 << 30  # bytes that a device's driver and libraries take: ours, not measured
SIDE_STEP = 64  # pixels

Settings = Mapping[str, Any]
Peaks = Callable[[Settings], dict[str, Phase]]  # of every stage, with these settings


class Advice(NamedTuple):
    """One setting with which a stage fits."""

    setting: str
    old: int
    new: int
    total: int  # bytes with it


def advice(stage: str, settings: Settings, peaks: Peaks, capacity: int, side: int | None) -> Advice | None:
    """The first setting, and its largest value, with which the stage fits; None where none does.

    `side`: of drawn pictures in pixels, where the family lets one choose it.
    """
    for section, name, old, values in _candidates(stage, settings, side):
        for value in values:
            changed = {**settings, section: dataclasses.replace(settings[section], **{name: value})}
            total = peaks(changed)[stage].total
            if total <= capacity - RESERVE:
                return Advice(f"{section}.{name}", old, value, total)
    return None


def _candidates(stage: str, settings: Settings, side: int | None) -> Iterator[tuple[str, str, int, list[int]]]:
    """(section, setting, value now, smaller values), those first that change no result."""
    align, rows = settings["align"], settings["adopt"].rows
    if stage == "align":
        pairs = align.rows or align.batch
        yield "align", "rows", pairs, _halves(pairs)
    yield "adopt", "rows", rows, _halves(rows)
    if side:
        yield "adopt", "side", side, list(range(side - SIDE_STEP, SIDE_STEP, -SIDE_STEP))


def _halves(value: int) -> list[int]:
    """Every half of it, down to one."""
    return [value >> shift for shift in range(1, value.bit_length())]
