"""Iteration 0 of a pretrained LMM: a checkpoint that names its weights, with LoRA that changes nothing yet."""

from __future__ import annotations

from pathlib import Path

from silmm.errors import InputError
from silmm.lmm.hf import checkpoint
from silmm.settings import Adopt
from silmm.stages.runtime import prepare


def run(settings: Adopt, *, family: str, seed: int, out: Path, threads: int = 1) -> None:
    """Check the weights and write the checkpoint folder; the weights stay where they are.

    Raises InputError for weights that are not whole, or not of this family, and for a setting that another family has.
    """
    prepare(threads)
    if not settings.weights:
        raise InputError("adopt.weights is empty: must be the folder of the model's weights")
    checkpoint.adopt(
        family,
        weights_of(settings, family),
        out,
        rank=settings.rank,
        alpha=settings.alpha,
        dtype=settings.dtype,
        rows=settings.rows,
        seed=seed,
        side=settings.side or None,
    )


def weights_of(settings: Adopt, family: str) -> dict[str, Path]:
    """The folders by the family's roles: one folder does it all, unless what chats (Emu3's) is another.

    Raises InputError where the family has nothing of its own that chats.
    """
    roles = checkpoint.family_of(family).roles
    if settings.chat and "chat" not in roles:
        raise InputError(f"adopt.chat is {settings.chat!r}: {family} has one set of weights: leave it out")
    return {role: Path(settings.chat if role == "chat" and settings.chat else settings.weights) for role in roles}
