"""What every stage that runs an LMM does first, and how it shows progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TypeVar

import torch
from tqdm import tqdm

T = TypeVar("T")


def prepare(threads: int) -> None:
    """Fix the number of threads and insist on deterministic algorithms: same bytes, whatever the cores."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS's condition; read when a GPU is first used
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # every buffer here is written before it is read


def progress(items: Iterable[T], text: str, total: int | None = None) -> Iterable[T]:
    """The items, with a progress bar on stderr (a line every half minute where stderr is a file)."""
    interactive = sys.stderr.isatty()
    return tqdm(
        items, desc=text, total=total, mininterval=0.1 if interactive else 30, file=sys.stderr, dynamic_ncols=True
    )
