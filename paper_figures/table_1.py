"""Table 1: what self-improvement gains in each group of categories, for both LMMs.

Ours are shares of ShapeWorld's prompts that the oracle finds satisfied in full, times 100, at the base and after the
last iteration; the paper's are scores of T2I-CompBench++. Beside our discrete LMM stand the paper's discrete ones,
SEED-LLaMA and Emu3, beside the continuous one DreamLLM.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from common import (
    GROUPS,
    Results,
    agreement,
    check_arms,
    iterations,
    lmms,
    main,
    percent,
    point,
    relative,
    runs_note,
    signed,
    verdict,
    with_interval,
)  # fmt: skip
from published import BESIDE, TABLE_1
from tabular import Table, finish_table

ARM = "silmm"


def draw(results: Results, out: Path) -> None:
    """Write the table."""
    rows: list[list[str]] = []
    numbers: list[dict[str, Any]] = []
    rules, notes = [], []
    for lmm in lmms(results):
        check_arms(results, lmm, [ARM])
        last = max(iterations(results, lmm, ARM))
        mine = _ours(results, lmm, last)
        rules.append(len(rows))
        rows += _our_lines(f"ShapeWorld, {lmm} LMM", mine, f"+ SILMM, iteration {last}")
        numbers += mine
        notes.append(f"{runs_note(results, lmm)}.")
        ours = [row["gain_rel"] for row in mine]
        for name in BESIDE[lmm]:
            theirs = _papers(name)
            rules.append(len(rows))
            rows += _paper_lines(name)
            numbers += theirs
            what = f"Relative gains by group, {lmm} LMM"
            notes += agreement(ours, [row["gain_rel"] for row in theirs], what, f"{name} (paper)")
        by_group = {row["category"]: row["gain_rel"] for row in mine}
        claims = {
            "attribute gains most (relative)": max(by_group, key=by_group.__getitem__) == "attribute",
            "non-spatial gains least (relative)": min(by_group, key=by_group.__getitem__) == "non_spatial",
        }
        notes += verdict(claims, f"{lmm} LMM")
    finish_table(Table(["", *GROUPS.values()], rows, rules), pd.DataFrame(numbers), out, notes)


def _ours(results: Results, lmm: str, iteration: int) -> list[dict[str, Any]]:
    rows = []
    for group in GROUPS:
        base, after = (point(results, lmm, arm, group, iteration=iteration) for arm in ("base", ARM))
        numbers = {"base": base.value, **after._asdict(), "gain_rel": relative(after.value, base.value)}
        rows.append({"whose": "ours", "lmm": lmm, "iteration": iteration, "category": group, **numbers})
    return rows


def _papers(name: str) -> list[dict[str, Any]]:
    """The paper's numbers as shares, in the columns of ours."""
    rows = []
    for group, base, after, gain in zip(GROUPS, *TABLE_1[name], strict=True):
        numbers = {"base": base / 100, "value": after / 100, "gain": (after - base) / 100, "gain_rel": gain / 100}
        rows.append({"whose": "paper", "lmm": name, "category": group, **numbers})
    return rows


def _our_lines(name: str, rows: list[dict[str, Any]], trained: str) -> list[list[str]]:
    return [
        [f"{name}: base", *(percent(row["base"]) for row in rows)],
        [trained, *(percent(row["value"]) for row in rows)],
        ["gain (95 % interval)", *(with_interval(row["gain"], row["low"], row["high"]) for row in rows)],
        ["relative gain", *(f"{signed(row['gain_rel'])} %" for row in rows)],
    ]


def _paper_lines(name: str) -> list[list[str]]:
    """The paper's digits as it prints them."""
    base, after, gains = TABLE_1[name]
    return [
        [f"{name} (paper): base", *(f"{score:.2f}" for score in base)],
        ["+ SILMM", *(f"{score:.2f}" for score in after)],
        ["relative gain", *(f"{gain:+.2f} %" for gain in gains)],
    ]


if __name__ == "__main__":
    main(draw, __doc__)
