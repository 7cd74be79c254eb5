"""Which implementations of an op are there, and which one a call gets."""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

import torch

ABI = 2  # the `abi` of csrc/module.cpp that the calls below this package are written for
OPS: dict[str, tuple[str, ...]] = {
    "nucleus": ("reference", "cpp"),
    "decode_attention": ("reference", "cpp"),
    "divdrop": ("reference",),
}
ISAS = ("base", "avx2", "avx512")
READY = "ready"


@functools.cache
def extension() -> tuple[Any, str]:
    """The C++ extension and `READY`, or None and the reason why it is not there."""
    again = "build it with `pip install --no-build-isolation -e .`"
    try:
        module = importlib.import_module("silmm.kernels._C")
    except ImportError as error:
        return None, f"the C++ extension does not load ({error}): {again}"
    if module.abi != ABI:
        return None, f"the C++ extension was built from other sources (abi {module.abi}, expected {ABI}): {again}"
    return module, READY


def available() -> dict[str, dict[str, str]]:
    """Per op and implementation: "ready", or the reason why it cannot be used."""
    return {op: {name: extension()[1] if name == "cpp" else READY for name in names} for op, names in OPS.items()}


def isa() -> int:
    """The highest instruction set that kernels may use, as a number of ISAS: SILMM_ISA, or all that there is.

    Raises ValueError for a name that is none. The bits do not depend on it, only the time.
    """
    name = os.environ.get("SILMM_ISA", ISAS[-1])
    if name not in ISAS:
        raise ValueError(f"SILMM_ISA: expected {', '.join(ISAS)}, given {name!r}")
    return ISAS.index(name)


def choose(op: str, impl: str, device: torch.device) -> str:
    """The implementation that a call with `impl` on `device` gets.

    Raises ValueError for an unknown name or a device that it does not serve, RuntimeError when it is not there.
    """
    names = OPS[op]
    if impl == "auto":
        return "cpp" if "cpp" in names and device.type == "cpu" and extension()[0] is not None else "reference"
    if impl not in names:
        raise ValueError(f"impl: expected {', '.join(('auto', *names[:-1]))} or {names[-1]}, given {impl!r}")
    if impl == "cpp":
        if device.type != "cpu":
            raise ValueError(f"impl: 'cpp' serves CPU tensors, given tensors on {device}")
        module, reason = extension()
        if module is None:
            raise RuntimeError(f"impl: 'cpp' is not available: {reason}")
    return impl
