"""Iteration 0 of a pretrained LMM: a checkpoint that names its weights, with LoRA that changes nothing yet."""

from __future__ import annotations

from pathlib import Path

from silmm.errors import InputError
from silmm.lmm.hf import checkpoint
from silmm.settings import FOLDERS, Adopt
from silmm.stages.runtime import prepare

OPTIONS = ("side", "steps", "guidance", "features", "painting", "template")  # settings that not every family has


def run(settings: Adopt, *, family: str, seed: int, out: Path, threads: int = 1) -> None:
    """Check the weights and write the checkpoint folder; the weights stay where they are.

    Raises InputError for weights that are not whole, or not of this family, and for a setting that another family has.
    """
    prepare(threads)
    checkpoint.adopt(
        family,
        weights_of(settings, family),
        out,
        rank=settings.rank,
        alpha=settings.alpha,
        dtype=settings.dtype,
        rows=settings.rows,
        seed=seed,
        options={name: getattr(settings, name) for name in OPTIONS if getattr(settings, name)},
    )


def options_of(family: str, settings: Adopt) -> dict[str, checkpoint.Option]:
    """The family's own options, as it chooses them where no setting does."""
    own = checkpoint.family_of(family).options
    return {name: getattr(settings, name) or value for name, value in own.items()}


def weights_of(settings: Adopt, family: str) -> dict[str, Path]:
    """The folders by the family's roles: the first is `weights`, another the setting of its name; what chats may be
    what draws.

    Raises InputError for a folder that is missing, and for one that the family has no use for.
    """
    roles = checkpoint.family_of(family).roles
    given = {name: getattr(settings, name) for name in FOLDERS}
    if not settings.chat and "chat" in roles:
        given["chat"] = settings.weights
    for name, folder in given.items():
        wanted = name == "weights" or name in roles[1:]
        if folder and not wanted:
            raise InputError(f"adopt.{name} is {folder!r}: {family} has no use for it: leave it out")
        if wanted and not folder:
            raise InputError(f"adopt.{name} is empty: must be a folder: `silmm adopt --help` says which")
    return {role: Path(given["weights" if role == roles[0] else role]) for role in roles}
