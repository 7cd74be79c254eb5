"""What this machine can do: bytes a second of a plain copy, operations a second of a plain matrix product.

Measured first, on this device, beyond its caches and on random numbers (a GPU multiplies zeros faster). A result is
judged by the larger of the times that the two allow for the bytes and the operations that it cannot do without.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bench.timing import Times, measure

COPY_BYTES = {"cpu": 256 << 20, "cuda": 4 << 30}  # of the source
# [m, k] times [k, n]: a square product, and one of few rows with a large vocabulary; the better one counts
MATMUL = {"cpu": ((2048, 2048, 2048), (1024, 1024, 16384)), "cuda": ((8192, 8192, 8192), (8192, 4096, 32768))}
ABOVE = 1.05  # of a ceiling: what is faster did not go through the memory


class Ceiling(NamedTuple):
    """One measured ceiling, as it stands in the table."""

    op: str  # copy, matmul
    dtype: torch.dtype
    shape: str
    times: Times
    nbytes: int
    flop: int


def copy(device: torch.device, *, quick: bool) -> Ceiling:
    """Copy one large tensor onto another: each byte is read once and written once."""
    size = (1 << 20 if quick else COPY_BYTES[device.type]) // 4
    source, target = torch.rand(size, device=device), torch.empty(size, device=device)
    times = measure({"copy": target.copy_}, [(source,)], device, quick=quick)["copy"]
    return Ceiling("copy", torch.float32, f"{source.nbytes >> 20} MiB", times, 2 * source.nbytes, 0)


def matmul(device: torch.device, dtype: torch.dtype, *, quick: bool) -> Ceiling:
    """A product of random numbers, with the second matrix as a linear layer keeps it."""
    found = []
    for m, k, n in ((64, 64, 64),) if quick else MATMUL[device.type]:
        a, b = torch.randn(m, k, device=device).to(dtype), torch.randn(n, k, device=device).to(dtype)
        times = measure({"matmul": torch.nn.functional.linear}, [(a, b)], device, quick=quick)["matmul"]
        found.append(
            Ceiling("matmul", dtype, f"{m}x{k}x{n}", times, nbytes(a, b) + m * n * a.element_size(), 2 * m * k * n)
        )
    return max(found, key=lambda c: c.flop / c.times.median)


class Limits(NamedTuple):
    """The ceilings of a device, in bytes and operations a millisecond."""

    copy: float
    matmul: dict[torch.dtype, float]

    def milliseconds(self, nbytes: int, flop: int, dtype: torch.dtype) -> float:
        """What such work takes at least."""
        return max(nbytes / self.copy, flop / self.matmul[dtype] if flop else 0.0)


def limits(measured: list[Ceiling]) -> Limits:
    """What the measured ceilings allow."""
    rates = {c.dtype: c.flop / c.times.median for c in measured if c.op == "matmul"}
    return Limits(next(c.nbytes / c.times.median for c in measured if c.op == "copy"), rates)


def nbytes(*tensors: Tensor) -> int:
    """Bytes of tensors, each read or written once."""
    return sum(t.numel() * t.element_size() for t in tensors)
