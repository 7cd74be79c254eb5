"""Without a GPU Triton's kernels run in its interpreter: the flag is read when they are defined, so it is set first."""

from __future__ import annotations

import os

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
