"""Where the weights of a pretrained model go."""

from __future__ import annotations

import torch

from silmm import gpus


def own_device() -> torch.device:
    """The GPU that this process has for itself (see `silmm.gpus`), or the CPU where there is none.

    Of several that it may see, CUDA's current one: each process of a team sets its own.
    """
    gpus.lease()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
