"""Which implementations of an op are there, and which one a call gets.

`reference` (plain torch) serves every device; `cpp` CPU tensors; `triton` and `cuda` those on a GPU. Triton's
interpreter (TRITON_INTERPRET=1, set before Python starts) also runs its kernels on CPU tensors, slowly: for tests.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from typing import Any, NamedTuple

import torch

ABI = 4  # the `abi` of csrc/module.cpp and csrc/cuda/module.cpp that the calls below this package are written for
ALL = ("reference", "cpp", "triton", "cuda")
OPS: dict[str, tuple[str, ...]] = {
    "nucleus": ("reference", "cpp"),
    "decode_attention": ("reference", "cpp"),
    "divdrop": ALL,
    "kc_dpo": ALL,
    "selective_logps": ALL,
}
AUTO = {"cpu": ("cpp",), "cuda": ("cuda", "triton")}  # by device type, the best first; then the reference
ISAS = ("base", "avx2", "avx512")
READY = "ready"
INSTALL = "pip install --no-build-isolation -e ."


class Choice(NamedTuple):
    """What a call gets, and why, in words."""

    impl: str
    why: str


@functools.cache
def extension(name: str = "_C") -> tuple[Any, str]:
    """The extension `_C` (C++) or `_CUDA`, and `READY`; or None and the reason why it is not there."""
    again = f"build it with `{INSTALL}`" if name == "_C" else f"build it where nvcc is, with `SILMM_CUDA=1 {INSTALL}`"
    what = {"_C": "C++", "_CUDA": "CUDA"}[name]
    try:
        module = importlib.import_module(f"silmm.kernels.{name}")
    except ImportError as error:
        return None, f"the {what} extension does not load ({error}): {again}"
    if module.abi != ABI:
        return None, f"the {what} extension was built from other sources (abi {module.abi}, expected {ABI}): {again}"
    return module, READY


def interpreted() -> bool:
    """Whether Triton's kernels run in its interpreter, on CPU tensors."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def state(impl: str) -> str:
    """`READY`, or the reason why an implementation cannot be called here."""
    if impl == "reference":
        return READY
    if impl == "cpp":
        return extension()[1]
    if impl == "cuda":
        built = extension("_CUDA")[1]
        return built if built != READY or torch.cuda.is_available() else "built, but torch finds no CUDA device"
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    if interpreted() or torch.cuda.is_available():
        return READY
    return "torch finds no CUDA device (TRITON_INTERPRET=1 runs its kernels on the CPU, slowly)"


def available() -> dict[str, dict[str, str]]:
    """Per op and implementation: "ready", or the reason why it cannot be used."""
    return {op: {name: state(name) for name in names} for op, names in OPS.items()}


def isa() -> int:
    """The highest instruction set that kernels may use, as a number of ISAS: SILMM_ISA, or all that there is.

    Raises ValueError for a name that is none. Where bits depend on it, the op says so.
    """
    name = os.environ.get("SILMM_ISA", ISAS[-1])
    if name not in ISAS:
        raise ValueError(f"SILMM_ISA: expected {', '.join(ISAS)}, given {name!r}")
    return ISAS.index(name)


def choose(op: str, impl: str, device: torch.device, limit: str = "") -> str:
    """The implementation that a call with `impl` on `device` gets.

    limit: what of the call no implementation but the reference does, in words ("pooling 'max'"); empty if nothing.

    Raises ValueError for an unknown name or what it does not serve, RuntimeError when it is not there.
    """
    names = OPS[op]
    if impl not in ("auto", *names):
        raise ValueError(f"impl: expected {', '.join(('auto', *names[:-1]))} or {names[-1]}, given {impl!r}")
    if impl == "auto":
        return pick(op, device.type, limit).impl
    _refuse(impl, device.type, limit)
    return impl


def pick(op: str, device: str, limit: str = "") -> Choice:
    """What `auto` means for an op on a type of device ("cpu", "cuda"): SILMM_IMPL where it names one of the op's
    implementations that serves the call, or the best that is there."""
    wanted = os.environ.get("SILMM_IMPL", "auto")
    if wanted not in ("auto", *ALL):
        raise ValueError(f"SILMM_IMPL: expected auto, {', '.join(ALL)}, given {wanted!r}")
    if limit:
        return Choice("reference", f"nothing else does {limit}")
    if wanted in OPS[op] and _serves(wanted, device):
        _refuse(wanted, device, limit)
        return Choice(wanted, "SILMM_IMPL says so")
    missing: list[str] = []
    for name in AUTO.get(device, ()):
        if name in OPS[op]:
            if state(name) == READY:
                return Choice(name, "; ".join([*missing, "the fastest here"]))
            missing.append(f"{name}: {state(name)}")
    return Choice("reference", "; ".join(missing) or f"the only one for {device} tensors")


def _serves(impl: str, device: str) -> bool:
    return impl == "reference" or impl in AUTO.get(device, ()) or (impl == "triton" and interpreted())


def _refuse(impl: str, device: str, limit: str) -> None:
    if impl == "reference":
        return
    if limit:
        raise ValueError(f"impl: {impl!r} does not do {limit}; 'reference' and 'auto' do")
    if not _serves(impl, device):
        serves = "CPU tensors" if impl == "cpp" else "tensors on a CUDA device"
        raise ValueError(f"impl: {impl!r} serves {serves}, given tensors on {device}")
    if (reason := state(impl)) != READY:
        raise RuntimeError(f"impl: {impl!r} is not available: {reason}")
