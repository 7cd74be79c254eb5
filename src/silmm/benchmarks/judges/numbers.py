"""Where numbers leave a judge: what is no number stops there, in one line, and is never a bad picture.

NaN is below every threshold, and `argmax` takes its place for the best: a detector with one damaged weight would find
nothing, and CLIP would see red.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from silmm.benchmarks.judges.interface import Card

NO_NUMBERS = "scores that are no numbers: check the judge"


def finite(card: Card, *computed: Tensor) -> None:
    """Every judge passes here what its model computed (logits, boxes, features), before it compares or rounds any of
    it. Raises InputError for NaN and infinity."""
    if not all(map(_are_numbers, computed)):
        raise InputError(
            f"{card.source} ({card.role}): {NO_NUMBERS} (its weights are damaged, or too large for"
            f" {computed[0].dtype}): download it again, or take another one"
        )


def finite_weights(model: nn.Module, source: str) -> None:
    """Of a judge as it is loaded, because a layer may hide an infinite weight (a ReLU makes 0 of minus infinity).
    Raises InputError that names the weight."""
    for name, weight in model.named_parameters():
        if not _are_numbers(weight):
            raise InputError(f"{source}: {name} holds NaN or infinity, which gives {NO_NUMBERS}, download it again")


def _are_numbers(values: Tensor) -> bool:
    """By the extremes, which NaN takes over: one pass, a tenth of the time that `isfinite` takes."""
    return not values.numel() or all(bool(end.isfinite()) for end in values.aminmax())
