"""What every command writes, checked before it begins: no output replaces what is not its own (`silmm.outputs`)."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from silmm import atomic, schemas
from silmm.outputs import PAGE, PDF, PNG, Kind, check_apart, check_file, figure_files
from silmm.settings import FOLDERS

WRITTEN = ("out", "stats", "gains_out", "state", "tensorboard")  # options that name what is written
FOLDER = ("pretrain", "adopt", "images", "align", "benchmark", "benchmark-images", "agreement-maps")
FILES: dict[str, dict[str, Kind]] = {
    "prompts": {"out": schemas.Prompt, "stats": schemas.PromptStats},
    "questions": {"out": schemas.PromptQuestions, "stats": schemas.QuestionStats},
    "score": {"out": schemas.SCORES},
    "gather": {"out": schemas.SCORES},
    "pairs": {"out": schemas.PAIRS, "stats": schemas.PairStats},
    "evaluate": {"out": schemas.EVAL, "stats": schemas.EvalStats},
    "audit": {"out": schemas.AUDIT},
    "diversity": {"out": schemas.DIVERSITY},
    "contact-sheet": {"out": PNG},
    "sample-sheet": {"out": PNG},
    "gallery": {"out": PAGE},
}
TABLES = {  # CSV: the module and the name of its columns
    "agreement": {"out": ("stages.agreement", "COLUMNS")},
    "summarize": {"out": ("report.summarize", "SUMMARY"), "gains_out": ("report.summarize", "GAINS")},
}
FIGURES = {  # a picture, a page, and a CSV with these columns
    "figure": ("report.accuracy", "COLUMNS"),
    "kc-dpo-curves": ("report.kc_dpo_curves", "COLUMNS"),
    "divdrop-grid": ("report.divdrop_grid", "COLUMNS"),
}


def check(args: argparse.Namespace) -> None:
    """Raise InputError where the command's outputs would replace somebody's files, its inputs or each other.

    `silmm draw` checks its own, whose kind depends on --best and --n.
    """
    outputs = {name: path for name in WRITTEN if (path := getattr(args, name, None)) is not None}
    written = dict(outputs)
    if args.command in FIGURES:
        written |= {f"out ({path.suffix})": path for path in figure_files(written.pop("out"))}
    check_apart(written, list(_inputs(args)))
    if args.command in FOLDER:
        atomic.check_dir(outputs["out"], f"silmm {args.command}")
    for name, kind in FILES.get(args.command, {}).items():
        check_file(outputs[name], kind)
    for name, where in TABLES.get(args.command, {}).items():
        _check_csv(outputs[name], *where)
    if args.command in FIGURES:
        png, pdf, numbers = figure_files(outputs["out"])
        check_file(png, PNG)
        check_file(pdf, PDF)
        _check_csv(numbers, *FIGURES[args.command])


def _check_csv(path: Path, module: str, columns: str) -> None:
    if path.exists():  # some of these modules are heavy
        check_file(path, getattr(importlib.import_module(f"silmm.{module}"), columns))


def _inputs(args: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """(option, path) of all that is read."""
    for name, value in vars(args).items():
        if name not in WRITTEN:
            yield from ((name.replace("_", "-"), path) for path in _paths(value))
    for name in FOLDERS:
        if folder := getattr(args, f"adopt.{name}", None):
            yield name, Path(folder)
    for role, source in getattr(args, "judge", None) or ():
        yield f"judge {role}", Path(source)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        yield from _paths(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)
