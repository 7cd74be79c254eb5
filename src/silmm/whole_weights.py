"""Weights that are not those of a model: which are missing, unexpected or misshapen, in one line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]


def differences(found: Shapes, wanted: Shapes) -> list[str]:
    """A problem a weight that is missing, unexpected or misshapen; none where they are the same."""
    problems = [f"{name} is missing" for name in wanted if name not in found]
    problems += [f"{name} is unexpected" for name in found if name not in wanted]
    problems += [
        f"{name} is {list(found[name])}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    return problems


def listed(problems: Sequence[str], most: int = 3) -> str:
    """The first few problems, and how many more there are."""
    return "; ".join(problems[:most]) + f" and {len(problems) - most} more" * (len(problems) > most)


def refuse_unfit(folder: Path, loaded: Mapping[str, Any], model: str, *, ignored: Collection[str] = ()) -> None:
    """InputError for weights that did not fit as `from_pretrained` loaded them: transformers' and diffusers' own errors
    and warnings do not say which they are, and leave them random.

    Args:
        loaded: its loading info, with sizes that do not fit ignored so that they are named here.
        model: the class that they should be of.
        ignored: ends of names that may be unexpected.
    """
    extra = [name for name in sorted(loaded["unexpected_keys"]) if not name.endswith(tuple(ignored))]
    problems = [f"{name} is missing" for name in sorted(loaded["missing_keys"])]
    problems += [f"{name} is unexpected" for name in extra]
    mismatched = sorted(loaded.get("mismatched_keys", ()))
    problems += [f"{name} is {list(own)}, not {list(wanted)}" for name, own, wanted in mismatched]
    if problems:
        raise InputError(f"{folder}: {listed(problems)}: expected the weights of {model}, all of them")
