"""Names of samplers: how pictures are drawn for a judgement."""

from __future__ import annotations

import re
from collections.abc import Sequence

from silmm.errors import InputError

_NAME = re.compile(r"t(\d+(?:\.\d+)?)|top_p(\d+(?:\.\d+)?)")


def parse_sampler(name: str) -> tuple[float, float]:
    """(temperature, top_p) of `t1.0` (no nucleus cut) or `top_p0.9` (temperature 1)."""
    found = _NAME.fullmatch(name)
    if not found:
        raise InputError(
            f"evaluate.samplers has {name!r}: expected t<temperature> or top_p<share>, e.g. t1.0, top_p0.9"
        )
    temperature, top_p = found.groups()
    if temperature is not None:
        if float(temperature) <= 0:
            raise InputError(f"evaluate.samplers has {name!r}: the temperature must be above 0")
        return float(temperature), 1.0
    if not 0 < float(top_p) <= 1:
        raise InputError(f"evaluate.samplers has {name!r}: top_p must be above 0 and at most 1")
    return 1.0, float(top_p)


def parse_samplers(names: Sequence[str]) -> list[tuple[float, float]]:
    """All of them; InputError where one is unknown or named twice."""
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"evaluate.samplers names {name!r} twice")
    return [parse_sampler(name) for name in names]
