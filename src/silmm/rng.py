"""Keyed random numbers: every draw is a pure function of a readable key, whatever the job order."""

from __future__ import annotations

import hashlib

import numpy as np


def _digest(key: tuple[object, ...]) -> bytes:
    text = "\x1f".join(str(part) for part in key)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def generator(*key: object) -> np.random.Generator:
    """A Philox generator keyed by e.g. `(seed, "images", iteration, prompt_id, sample)`."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(key), "little")))


def torch_seed(*key: object) -> int:
    """A 63-bit seed for `torch.manual_seed` from the same kind of key."""
    return int.from_bytes(_digest(key)[:8], "little") >> 1
