"""Models that a config.json describes, never much larger than the weights beside it.

A config of a few hundred bytes can ask for any number of layers and any width, and what it leaves out takes a library's
defaults, which are those of models of billions. So a model is first made on torch's meta device, which holds no
numbers, and given up as soon as it has more of anything than the headers of the weights can fill.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from silmm.errors import InputError
from silmm.typed_json import short
from silmm.whole_weights import Shapes

NUMBERS, SPARE_NUMBERS = 2, 2**24  # a model may have so many times the files' numbers, and so many more
MODULES, SPARE_MODULES = 10, 1000  # modules, weights and buffers, by the files' tensors: most layers have no weights
MOST = {"num_train_timesteps": 100_000, "sample_size": 4096}  # of what diffusion pipelines make tables and noise
LEAST_COUNT = 100  # a config may name so many layers of anything, however few tensors there are
# Where there are no weights yet (`silmm plan`): above all models that there are.
UNKNOWN_TENSORS, UNKNOWN_NUMBERS = 100_000, 10**12

_COUNT = re.compile(r"layers?(_per_block)?|.*_layers?(_per_block)?|depths?|.*_depths?|.*_blocks", re.ASCII)


@contextmanager
def on_meta(config: Path, held: Shapes | None) -> Iterator[None]:
    """torch's meta device, to make the model of a config on.

    Args:
        config: the file, for the message.
        held: shapes of the weights beside it, by name; None where there are none yet.

    Raises InputError as soon as the model has more modules, weights or numbers than these can fill.
    """
    import torch
    from torch.nn.modules import module as hooks

    tensors = UNKNOWN_TENSORS if held is None else len(held)
    numbers = UNKNOWN_NUMBERS if held is None else numbers_of(held)
    most_modules, most_numbers = MODULES * tensors + SPARE_MODULES, NUMBERS * numbers + SPARE_NUMBERS
    modules, seen = 0, dict[int, Any]()  # kept, so that no two have the same id
    counted = 0

    def count(_: Any, __: str, made: Any) -> None:
        nonlocal modules, counted
        if made is None or id(made) in seen:
            return
        seen[id(made)] = made
        modules += 1
        counted += made.numel() if isinstance(made, torch.Tensor) else 0
        if modules > most_modules or counted > most_numbers:
            wrong = f"{most_modules:,} modules" if modules > most_modules else f"{most_numbers:,} numbers"
            raise InputError(f"{config}: a model of more than {wrong}{_beside(held, tensors, numbers)}")

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        with torch.device("meta"):
            yield
    finally:
        for handle in handles:
            handle.remove()


def check_counts(config: Path, fields: Mapping[str, Any], held: Shapes | None) -> None:
    """InputError for a config that names more layers of something than there are weights: libraries make lists of that
    length before they make a layer."""
    tensors = UNKNOWN_TENSORS if held is None else len(held)
    for name, value in _counts(fields):
        if name in MOST and value > MOST[name]:
            raise InputError(f"{config}: {short(name)} is {short(value)}: expected at most {MOST[name]:,}")
        if name not in MOST and value > max(tensors, LEAST_COUNT):
            raise InputError(f"{config}: {short(name)} is {short(value)}{_beside(held, tensors, None)}")


def numbers_of(shapes: Shapes) -> int:
    """How many numbers the weights hold."""
    return sum(math.prod(shape) for shape in shapes.values())


def _counts(fields: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Whole numbers, however deep, under names that say how many of something there are; JSON's brackets are few."""
    if isinstance(fields, Mapping):
        for key, value in fields.items():
            yield from _counts(value, key)
    elif isinstance(fields, list):
        for value in fields:
            yield from _counts(value, name)
    elif type(fields) is int and (name in MOST or _COUNT.fullmatch(name)):
        yield name, fields


def _beside(held: Shapes | None, tensors: int, numbers: int | None) -> str:
    if held is None:
        return ": larger than any that silmm knows: take the published config.json"
    much = "" if numbers is None else f" of {numbers:,} numbers"
    return f", but the weights beside it are {tensors:,} tensors{much}: they are of different models"
