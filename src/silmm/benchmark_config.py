"""The benchmarks that a run judges pretrained LMMs by, from the config: pure functions, no file is touched."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from silmm.arms import option, section_of, value_of
from silmm.benchmarks.judges.interface import ROLES
from silmm.benchmarks.registry import BENCHMARKS
from silmm.errors import InputError
from silmm.settings import Images

SAMPLING = tuple(f.name for f in dataclasses.fields(Images) if f.name not in ("n", "noises"))
IN_TABLE_1 = ("t2i_compbench++", "dpg_bench", "tifa")  # the paper's
PLAIN: dict[str, Any] = {"rate": 0.0, "noise": "free"}  # to be judged, a continuous LMM draws without DivDrop


def _doc(default: Any, text: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True)
class Judged:
    """One benchmark of a run: under its name as `silmm benchmark` knows it."""

    data: str = _doc("", "folder of its official files; needed")
    judges: Mapping[str, str] = field(
        default_factory=dict,
        metadata={"help": "folder of the judge of each role that it needs", "names": tuple(ROLES)},
    )
    only: tuple[str, ...] = _doc((), "these categories alone; without it all")
    first: int = _doc(
        0, "the first so many prompts of each category alone, for trying out; every table says so (0: all)", low=0
    )
    shards: int = _doc(1, "jobs that draw its pictures; the numbers do not depend on it", low=1)

    def part(self) -> str:
        """The options that choose a part of it."""
        words = ["--only", ",".join(self.only)] if self.only else []
        return shlex.join([*words, *(["--first", str(self.first)] if self.first else [])])

    def judge_options(self) -> str:
        """The options that name its judges."""
        return shlex.join(word for role, folder in self.judges.items() for word in ("--judge", f"{role}={folder}"))


def benchmarks(config: Mapping[str, Any]) -> dict[str, Judged]:
    """The benchmarks that the config names, in the order of the registry; one that is null is left out.

    Raises InputError that names the key, its value, and what it should be, on one line.
    """
    section = section_of(config, "benchmarks")
    for name in section:
        if name not in BENCHMARKS:
            raise InputError(f"config: unknown key 'benchmarks.{name}'; known are {', '.join(BENCHMARKS)}")
    return {name: _judged(section[name], f"benchmarks.{name}") for name in BENCHMARKS if section.get(name) is not None}


def drawing(settings: Images) -> str:
    """The options of `silmm benchmark-images` that say how to sample: as in step 2, but without DivDrop."""
    values = {name: PLAIN.get(name, getattr(settings, name)) for name in SAMPLING}
    return " ".join(option("images", name, value) for name, value in values.items())


def _judged(given: Any, where: str) -> Judged:
    if not isinstance(given, Mapping):
        raise InputError(f"config: {where} is {given!r}: must be a mapping")
    hints = {"data": str, "only": tuple[str, ...], "first": int, "shards": int}
    for key in given:
        if key not in (*hints, "judges"):
            raise InputError(f"config: unknown key '{where}.{key}'; known are {', '.join((*hints, 'judges'))}")
    values = {key: value_of(given[key], hint, f"{where}.{key}") for key, hint in hints.items() if key in given}
    for key in ("first", "shards"):
        low = next(f.metadata["low"] for f in dataclasses.fields(Judged) if f.name == key)
        if values.get(key, low) < low:
            raise InputError(f"config: {where}.{key} is {values[key]}: must be at least {low}")
    if not values.get("data"):
        raise InputError(f"config: {where}.data is '': must be the folder of the official files")
    judges = section_of(given, "judges", f"{where}.")
    for role, folder in judges.items():
        if role not in ROLES:
            raise InputError(f"config: unknown key '{where}.judges.{role}'; known are {', '.join(ROLES)}")
        if not isinstance(folder, str) or not folder:
            raise InputError(f"config: {where}.judges.{role} is {folder!r}: must be the folder of a judge")
    return Judged(**values, judges={role: judges[role] for role in ROLES if role in judges})
