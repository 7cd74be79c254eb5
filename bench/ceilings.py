"""What this machine can do: bytes a second of a plain copy, operations a second of a plain matrix product.

Measured first, on this device, beyond its caches and on random numbers (a GPU multiplies zeros faster). A result is
judged by the larger of the times that the two allow for the bytes and the operations that it cannot do without. What
only reads, or mostly writes, may be somewhat faster than a copy, but not than the fastest of all three.
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

    op: str  # copy, read, fill, matmul
    dtype: torch.dtype
    shape: str
    times: Times
    nbytes: int
    flop: int


def passes(device: torch.device, *, quick: bool) -> list[Ceiling]:
    """Copy one large tensor onto another, only read one, only write one."""
    size = (1 << 20 if quick else COPY_BYTES[device.type]) // 4
    source, target = torch.rand(size, device=device), torch.empty(size, device=device)
    ways = {"copy": lambda: target.copy_(source), "read": source.sum, "fill": lambda: target.fill_(1.0)}
    times = measure(ways, [()], device, quick=quick)
    shape = f"{source.nbytes >> 20} MiB"
    return [
        Ceiling(op, torch.float32, shape, t, source.nbytes * (2 if op == "copy" else 1), 0) for op, t in times.items()
    ]


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
    fastest: float  # of copying, reading and writing
    matmul: dict[torch.dtype, float]

    def milliseconds(self, nbytes: int, flop: int, dtype: torch.dtype, *, copying: bool = True) -> float:
        """What such work takes at least, at the speed of copying or of the fastest pass."""
        memory = self.copy if copying else self.fastest
        return max(nbytes / memory, flop / self.matmul[dtype] if flop else 0.0)


def limits(measured: list[Ceiling]) -> Limits:
    """What the measured ceilings allow."""
    matmul = {c.dtype: c.flop / c.times.median for c in measured if c.op == "matmul"}
    memory = {c.op: c.nbytes / c.times.median for c in measured if c.op != "matmul"}
    return Limits(memory["copy"], max(memory.values()), matmul)


def nbytes(*tensors: Tensor) -> int:
    """Bytes of tensors, each read or written once."""
    return sum(t.numel() * t.element_size() for t in tensors)
