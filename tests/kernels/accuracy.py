"""What the kernels' tests share: which implementations can run here, and how far a result is from the truth."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor

from silmm.kernels._dispatch import OPS, READY, state

COMPILER = any(map(shutil.which, ("c++", "g++", "clang++")))


def backends(op: str, *, reference: bool = False) -> list:
    """Parameters (impl, device) of an op; one that cannot run here is skipped and says why.

    Where there is a compiler, a C++ extension that is not there is a failure, not a reason to skip.
    """
    found = []
    for impl in OPS[op]:
        if impl == "reference" and not reference:
            continue
        device = "cuda" if impl in ("triton", "cuda") and torch.cuda.is_available() else "cpu"
        skip = state(impl) != READY and not (impl == "cpp" and COMPILER)
        marks = [pytest.mark.skip(reason=f"{impl}: {state(impl)}")] if skip else []
        found.append(pytest.param(impl, device, id=f"{impl}-{device}", marks=marks))
    return found


def relative_error(given: Tensor, true: Tensor) -> float:
    """|given - true| / |true| in float64; |given| where the truth is 0. NaN or infinity in `given` is an error."""
    given, true = given.detach().cpu().double(), true.detach().cpu().double()
    assert given.shape == true.shape, f"{list(given.shape)}, expected {list(true.shape)}"
    assert bool(given.isfinite().all()), "not finite"
    norm = float(true.norm())
    return float((given - true).norm()) / (norm or 1.0)
