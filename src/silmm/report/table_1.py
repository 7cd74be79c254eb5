"""The paper's Table 1 of pretrained LMMs: which benchmarks' scores stand in it, read and held against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from silmm.benchmarks.interface import OFFICIAL
from silmm.csv_files import read_texts
from silmm.errors import InputError
from silmm.report.benchmark_table import BY_NAME, COLUMNS
from silmm.report.benchmark_table import OFFICIAL as OFFICIAL_JUDGE
from silmm.report.entries import BASE, Step

# The columns: (benchmark, category of its scores.csv): what the paper calls it.
HEAD = {
    ("t2i_compbench++", "attribute"): "Attr",
    ("t2i_compbench++", "layout"): "Layout",
    ("t2i_compbench++", "non_spatial"): "Non-sp",
    ("t2i_compbench++", "complex"): "Complex",
    ("dpg_bench", "global"): "DPG\nGlobal",
    ("dpg_bench", "entity"): "DPG\nEntity",
    ("dpg_bench", "attribute"): "DPG\nAttr",
    ("dpg_bench", "relation"): "DPG\nRelation",
    ("dpg_bench", "other"): "DPG\nOther",
    ("dpg_bench", "all"): "DPG\nAll",
    ("tifa", "all"): "TIFA",
}
NUMBERS = ("score", "ci_low", "ci_high", "items", "pictures")


def scores(steps: Sequence[Step], benchmarks: Sequence[str]) -> pd.DataFrame:
    """The scores of policies, both variants: a row of scores.csv each that Table 1 has, behind lmm, arm, seed and
    iteration. `dir` of a step holds a folder with scores.csv for each of the benchmarks.

    Raises InputError for a file that is missing or damaged, and where two policies were judged in different ways.
    """
    tables = [
        _read(step.dir / name / "scores.csv")
        .query("category in @wanted", local_dict={"wanted": [own for of, own in HEAD if of == name]})
        .assign(lmm=step.lmm, arm=step.arm, seed=step.seed, iteration=step.iteration)
        for step in steps
        for name in benchmarks
    ]
    named = ["lmm", "arm", "seed", "iteration"]
    table = pd.concat(tables, ignore_index=True)
    _check_alike(table)
    return table[[*named, *(name for name in COLUMNS if name not in named)]]


def official(table: pd.DataFrame, lmm: str, trained: bool) -> dict[tuple[str, str], float]:
    """The scores of an LMM's base, or of its policy after training, by the published arithmetic, by column."""
    mine = table[(table.variant == OFFICIAL) & (table.lmm == lmm) & ((table.arm != BASE) == trained)]
    return dict(zip(zip(mine.benchmark, mine.category, strict=True), mine.score, strict=True))


def comparable(standing: str) -> bool:
    """Whether numbers with this standing may be held against published ones: by the official judge, of all prompts."""
    return standing in (OFFICIAL_JUDGE, BY_NAME)


def judges(table: pd.DataFrame) -> list[tuple[list[str], str, str]]:
    """(columns, judge, standing) in the order of the columns; those that were judged alike stand together."""
    found: dict[tuple[str, str], list[str]] = {}
    for column, name in HEAD.items():
        rows = table[(table.benchmark == column[0]) & (table.category == column[1])]
        for judge, standing in dict.fromkeys(zip(rows.judge, rows.standing, strict=True)):
            found.setdefault((judge, standing), []).append(name)
    return [(columns, judge, standing) for (judge, standing), columns in found.items()]


def gains(
    before: Mapping[tuple[str, str], float], after: Mapping[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    """Differences, in the columns that both have."""
    return {column: after[column] - before[column] for column in HEAD if column in before and column in after}


def _check_alike(table: pd.DataFrame) -> None:
    """InputError where a column's scores are by different judges, or of different parts of a benchmark."""
    for (benchmark, category, variant), rows in table.groupby(["benchmark", "category", "variant"], sort=False):
        for name in ("judge", "standing", "items", "pictures"):
            kinds = list(dict.fromkeys(rows[name]))
            if len(kinds) > 1:
                raise InputError(
                    f"{benchmark}, {category} ({variant}): {name} is {kinds[0]!r} of one policy and {kinds[1]!r} of"
                    " another: their scores do not compare: judge all in one way"
                )


def _read(file: Path) -> pd.DataFrame:
    """scores.csv of a judging run. Raises InputError."""
    advice = "judge the pictures again (silmm benchmark)"
    if not file.is_file():
        raise InputError(f"{file}: no such file: {advice}")
    try:
        table = read_texts(file)
        if tuple(table.columns) != COLUMNS:
            raise InputError(f"{file}: columns are {', '.join(table.columns)[:100]}: expected {', '.join(COLUMNS)}")
        return table.assign(**{name: pd.to_numeric(table[name]) for name in NUMBERS})
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError) as error:  # pandas' own errors are of these kinds
        raise InputError(f"{file}: not a table of scores ({' '.join(str(error).split())[:100]}): {advice}") from None
