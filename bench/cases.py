"""What a benchmark of a kernel is made of, and which implementations of it can run.

`bench/case_<op>.py` has for each op of `silmm.kernels` a function `cases(device, quick)` that yields its cases.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from bench.timing import Way
from silmm.kernels import _dispatch

OURS = ("reference", "cpp", "cpp avx2", "triton", "cuda")
RIVALS = ("eager", "compile", "liger")  # if one of these cannot run, its row is missing and the reason is printed
ONE_LEVEL = ("nucleus",)  # its C++ is compiled for one instruction set


class Case(NamedTuple):
    """One op on one shape: ways to do it, and what it costs at least."""

    op: str
    shape: str
    dtype: torch.dtype
    mode: str  # `forward`, or `full`: forward and backward
    nbytes: int  # each input read once, each result written once
    flop: int  # of matrix products
    new: Callable[[], tuple[Any, ...]]  # a set of inputs
    ways: dict[str, Way]  # by implementation: inputs to results
    truth: Way  # the results in float64 (or integers that must be met), from the same inputs
    yardstick: str | None = "eager"  # no way may be further from the truth than twice this one; None: no difference
    other: tuple[str, ...] = ()  # ways whose results are not the truth's (random numbers of their own)
    memory: bool = False  # whether to measure the extra memory too
    also: Callable[[], None] = lambda: None  # further checks


def implementations(op: str, device: torch.device) -> dict[str, str]:
    """The implementations of `op` that run on `device`, as name in the table to `impl`.

    On a processor that has more than AVX2, C++ that uses it runs a second time as on one that has not.
    """
    found = {}
    for impl in _dispatch.OPS[op]:
        if impl == "reference" or (_dispatch.state(impl) == "ready" and impl in _dispatch.AUTO[device.type]):
            found[impl] = impl
    module = _dispatch.extension()[0]
    if "cpp" in found and op not in ONE_LEVEL and _dispatch.ISAS[min(module.isa(), _dispatch.isa())] == "avx512":
        found["cpp avx2"] = "cpp"
    return found


def ours(op: str, device: torch.device, call: Callable[[str], Way]) -> dict[str, Way]:
    """`call(impl)` for every implementation that runs on `device`, by its name in the table."""
    found = implementations(op, device)
    return {name: at_avx2(call(impl)) if name.endswith("avx2") else call(impl) for name, impl in found.items()}


def at_avx2(way: Way) -> Way:
    """The same with SILMM_ISA=avx2."""

    def run(*inputs: Any) -> Any:
        with environment("SILMM_ISA", "avx2"):
            return way(*inputs)

    return run


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """An environment variable within a block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def compiled(function: Way) -> Way:
    """torch.compile's version of a function; what was compiled before is forgotten, so that its limits do not count."""
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


def liger(name: str) -> Any:
    """`liger_kernel.<name>` where that package is and a GPU, else None."""
    module, _, attribute = name.rpartition(".")
    if not torch.cuda.is_available():
        return None
    try:
        return getattr(importlib.import_module(f"liger_kernel.{module}"), attribute)
    except (ImportError, AttributeError):
        return None


def cases(op: str, device: torch.device, quick: bool) -> Iterator[Case]:
    """The cases of an op on a device; an op that no implementation but the reference serves there has none."""
    if set(implementations(op, device)) - {"reference"} or quick:
        yield from importlib.import_module(f"bench.case_{op}").cases(device, quick)
