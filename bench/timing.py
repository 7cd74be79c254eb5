"""How long calls take: CPU time of one thread, or events on a CUDA stream.

The ways to do the same take turns, round after round, so that what disturbs the machine disturbs all of them. Each call
gets the next of several sets of inputs, and the results of the last calls are kept, so that together they are several
times larger than the last cache: what was there before is not what the call needs, nor where its results go.
"""

from __future__ import annotations

import ctypes
import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

Way = Callable[..., Any]
WARM_UP = 3
BURST = 8  # calls of one way before the next way's turn, on a GPU
CPU_SECONDS, CPU_ROUNDS = 3.0, (5, 25)  # all ways of a case: as many rounds as fit, within these bounds
GPU_SECONDS, GPU_CALLS = 0.25, (8, 200)  # of one way
CACHES = 3  # how many times larger than the last cache the rotated sets are
SETS = (2, 256)


class Times(NamedTuple):
    """Milliseconds a call."""

    median: float
    p20: float
    p80: float


def measure(
    ways: dict[str, Way], sets: list[tuple[Any, ...]], device: torch.device, *, quick: bool
) -> dict[str, Times]:
    """Times of each way; `sets` are the inputs that calls get in turn. quick: one call each, for tests."""
    clock = on_cuda if device.type == "cuda" else on_cpu
    with without_collection():
        return {name: summary(times) for name, times in clock(ways, sets, quick=quick).items()}


def on_cpu(ways: dict[str, Way], sets: list[tuple[Any, ...]], *, quick: bool) -> dict[str, list[float]]:
    """CPU milliseconds of each call, one call of each way a round; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    kept: list[Any] = [None] * len(sets)
    rounds = 1
    number = 0
    for round_ in range(1000):
        if round_ > rounds:
            break
        for name, way in ways.items():
            place = number % len(sets)
            start = time.process_time()
            result = way(*sets[place])
            times[name].append(1e3 * (time.process_time() - start))
            kept[place] = result  # only now is the former result freed, so its memory was not at hand
            number += 1
        if round_ == 0 and not quick:
            once = sum(values[0] for values in times.values()) / 1e3
            rounds = min(max(math.ceil(CPU_SECONDS / max(once, 1e-9)), CPU_ROUNDS[0]), CPU_ROUNDS[1])
    return {name: values[1:] for name, values in times.items()}


def on_cuda(ways: dict[str, Way], sets: list[tuple[Any, ...]], *, quick: bool) -> dict[str, list[float]]:
    """Milliseconds between two events around each call, in bursts; gaps in which the GPU waits for Python count."""
    kept: list[Any] = [None] * len(sets)
    calls = 0

    def burst(way: Way, count: int) -> list[float]:
        nonlocal calls
        events = []
        for _ in range(count):
            place = calls % len(sets)
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            result = way(*sets[place])
            last.record()
            kept[place] = result
            events.append((first, last))
            calls += 1
        torch.cuda.synchronize()
        return [first.elapsed_time(last) for first, last in events]

    wanted = {}
    for name, way in ways.items():
        once = burst(way, WARM_UP)[-1] / 1e3
        wanted[name] = 1 if quick else min(max(math.ceil(GPU_SECONDS / max(once, 1e-6)), GPU_CALLS[0]), GPU_CALLS[1])
    times: dict[str, list[float]] = {name: [] for name in ways}
    while any(len(times[name]) < wanted[name] for name in ways):
        for name, way in ways.items():
            if left := wanted[name] - len(times[name]):
                times[name] += burst(way, min(BURST, left))
    return times


def summary(times: list[float]) -> Times:
    """Median and the 20th and 80th percentile."""
    values = torch.tensor(times, dtype=torch.float64)
    return Times(*(float(q) for q in values.quantile(torch.tensor([0.5, 0.2, 0.8], dtype=torch.float64))))


def sets_needed(nbytes: int, device: torch.device, *, quick: bool) -> int:
    """How many sets of inputs and results of `nbytes` exceed the last cache several times."""
    if quick:
        return 2
    return min(max(math.ceil(CACHES * last_cache(device) / max(nbytes, 1)), SETS[0]), SETS[1])


def last_cache(device: torch.device) -> int:
    """Bytes of the last cache before the memory; 64 MiB where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    file = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
    text = file.read_text().strip() if file.exists() else ""
    return int(text[:-1]) << 10 if text[:-1].isdigit() and text.endswith("K") else 64 << 20


def keep_freed_memory() -> None:
    """Let glibc keep what is freed: else every large result is new memory, and the kernel's zeroing of it is timed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((-4, 0), (-1, 2**31 - 1), (-2, 1 << 28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(parameter, value)


@contextmanager
def without_collection() -> Iterator[None]:
    """No garbage collection within."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
