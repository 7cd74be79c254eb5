"""`selective_logps` as one would write it in plain torch, and how much memory a call takes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def eager_selective_logps(hidden: Tensor, weight_VD: Tensor, ids: Tensor) -> Tensor:
    """Log-probs float32 (float64 for float64) of `ids`: a log-softmax over all logits, and a gather."""
    logits = hidden @ weight_VD.t()
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    return torch.log_softmax(logits, -1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def peak_bytes(call: Callable[[], object]) -> int:
    """The most that tensors allocated during a call took on the CPU at a time; what a library allocates is not seen."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        call()
    events = seen.profiler.kineto_results.events()  # in the order of time; others have no such name
    now = most = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
