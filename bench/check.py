"""Before anything is timed: do the implementations compute the same, and is it right?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from bench.cases import RIVALS, Case
from silmm.kernels.philox import philox

FLOOR = 1e-6  # relative; differences below it need no explanation
# Known answers of Philox4x32-10 from Random123: counter, key, words
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


class Wrong(Exception):
    """An implementation does not compute what it should."""


@contextmanager
def poisoned() -> Iterator[None]:
    """Memory that is allocated within holds NaN (or the largest integer) until it is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.use_deterministic_algorithms(True, warn_only=True)
        filled, torch.utils.deterministic.fill_uninitialized_memory = (
            torch.utils.deterministic.fill_uninitialized_memory, True,
        )  # fmt: skip
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(False)
            torch.utils.deterministic.fill_uninitialized_memory = filled


def tensors(result: Any) -> list[Tensor]:
    """All tensors of a result."""
    if isinstance(result, Tensor):
        return [result.detach()]
    return [] if result is None else [t for part in result for t in tensors(part)]


def error(given: Any, true: Any) -> float:
    """The largest relative error of a result's tensors, by norm; infinite where a number is not finite."""
    worst = 0.0
    pairs = list(zip(tensors(given), tensors(true), strict=True))
    for one, other in pairs:
        if one.shape != other.shape:
            raise Wrong(f"shape {list(one.shape)}, expected {list(other.shape)}")
        norm = float(other.double().norm()) or 1.0
        relative = float((one.double() - other.double()).norm()) / norm
        worst = max(worst, relative if relative == relative else float("inf"))
    return worst


def run_all(case: Case, inputs: tuple[Any, ...]) -> tuple[dict[str, float], dict[str, str]]:
    """The error of each way, and why a rival could not run. Raises `Wrong` where one of ours is too far off."""
    true = case.truth(*inputs)
    errors, failed = {}, {}
    for name, way in case.ways.items():
        try:
            with nullcontext() if name in RIVALS else poisoned():
                result = way(*inputs)
            if name not in case.other:
                errors[name] = error(result, true)
        except Exception as reason:
            if name not in RIVALS:
                raise Wrong(f"{case.op} {case.shape} {case.mode} {name}: {type(reason).__name__}: {reason}") from reason
            failed[name] = f"{type(reason).__name__}: {str(reason).strip().splitlines()[0] if str(reason) else ''}"
    allowed = 0.0 if case.yardstick is None else 2 * errors.get(case.yardstick, 0.0) + FLOOR
    for name, found in errors.items():
        if name not in RIVALS and not found <= allowed:
            raise Wrong(f"{case.op} {case.shape} {case.mode} {name}: relative error {found:.2e}, allowed {allowed:.2e}")
    case.also()
    return errors, failed


def known_answers(device: torch.device) -> None:
    """Raise `Wrong` where the reference's Philox does not give Random123's known answers on this device."""
    for counter, (low, high), words in KNOWN:
        key = low | (high << 32)
        key -= (key >> 63) << 64  # as a signed number
        given = philox(tuple(torch.tensor(c, device=device) for c in counter), torch.tensor(key, device=device))  # type: ignore[arg-type]
        if tuple(int(word) for word in given) != words:
            raise Wrong(
                f"Philox4x32-10 on {device}: {[hex(int(w)) for w in given]}, expected {[hex(w) for w in words]}"
            )
