"""The tables of `silmm summarize`, read back for a figure or a document, and what their names say in words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from silmm.csv_files import read_texts
from silmm.errors import InputError
from silmm.report.entries import MAIN, UNTRAINED, arm_order

DEFAULT_SAMPLERS = ("t1.0", "fresh_noise")  # of a discrete and of a continuous LMM
WORDS = {
    **{"t1.0": "T = 1", "top_p0.9": "top-p 0.9", "fresh_noise": "fresh noise", "constant_noise": "constant noise"},
    **{"silmm": "SILMM", "kc_dpo": "KC-DPO", "dpo": "DPO, no anchor", "sft": "SFT", "best_of_n": "best of N"},
}
_TEXTS = ("lmm", "arm", "role", "versus", "sampler", "category", "metric")


def read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """summary.csv or gains.csv: names as text (a sampler may have none), the rest as numbers, nan where empty.

    Raises:
        InputError: no such file, other columns than `columns`, or no number where one should be.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; run silmm summarize")
    try:
        table = read_texts(path)
    except (ValueError, OverflowError) as error:  # pandas' own errors are of these kinds
        raise InputError(f"{path}: not a table ({_line(error)}); run silmm summarize again") from None
    if tuple(table.columns) != columns:
        found = ", ".join(map(_line, table.columns[:12]))
        raise InputError(f"{path}: columns are {found}: expected {', '.join(columns)}; run silmm summarize again")
    try:
        return table.assign(**{c: pd.to_numeric(table[c]) for c in table if c not in _TEXTS})
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: not a table of silmm summarize ({_line(error)}); run it again") from None


def _line(text: object) -> str:
    """What a file or a library says, on one line and not long."""
    return " ".join(str(text).split())[:100]


def words(name: str) -> str:
    """An arm's or a sampler's name in words."""
    return WORDS.get(name, name.replace("_", " "))


def samplers(summary: pd.DataFrame) -> list[str]:
    """The samplers that the oracle judged, the default one first."""
    names = sorted(set(summary[summary.metric == "oracle_prompt"].sampler))
    return sorted(names, key=lambda name: name not in DEFAULT_SAMPLERS)


def roles(gains: pd.DataFrame) -> dict[str, str]:
    """The arms of one LMM with their roles, in the order of the tables: the main arm first, untrained ones last."""
    found = dict(zip(gains.arm, gains.role, strict=True))
    return {arm: found[arm] for arm in sorted(found, key=lambda arm: arm_order(arm, found[arm]))}


def alike(summary: pd.DataFrame, arms: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Arms of one LMM that share their numbers: {the first of them: all of them}, in the order of `arms` (of `roles`).

    A control that runs fewer iterations than the arm before it is alike if its own ones are. Such arms share their
    files (`silmm.arms`); drawn or listed apart, they would look like two experiments. Untrained arms stand alone.
    """
    names = ["seed", "iteration", "sampler", "category", "metric", "value"]
    rows = {arm: set(summary.loc[summary.arm == arm, names].itertuples(index=False, name=None)) for arm in arms}
    groups: dict[str, tuple[str, ...]] = {}
    for arm, role in arms.items():
        trained = [first for first in groups if role != UNTRAINED and arms[first] != UNTRAINED]
        same = next((first for first in trained if rows[arm] and rows[arm] <= rows[first]), arm)
        groups[same] = (*groups.get(same, ()), arm)
    return groups


def main_arm(arms: dict[str, str], path: Path) -> str:
    """The main one of `roles`; InputError naming the file if there is none."""
    for arm, role in arms.items():
        if role == MAIN:
            return arm
    raise InputError(f"{path}: no main arm among {', '.join(arms) or 'no arms'}: give its entries role={MAIN}")


def lmms(summary: pd.DataFrame) -> list[str]:
    """The LMMs that the oracle judged, in the order of the table."""
    return list(dict.fromkeys(summary[summary.metric == "oracle_prompt"].lmm))
