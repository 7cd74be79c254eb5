"""The options of `silmm agreement` and `silmm agreement-maps`: how far judges agree with people."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from silmm.cli_options import Parser
from silmm.errors import InputError

_HUMANS = "TIFA's human_annotations_with_scores.json, DSG's tifa160-likert-anns.csv, or both"


def add_agreement(commands: Any) -> tuple[Parser, Parser]:
    """Add both commands: the correlations, and what makes the annotated pictures ready to be judged."""
    text = "Correlate scores with what people said of the same pictures, with intervals."
    agreement: Parser = commands.add_parser("agreement", help=text, description=text)
    _add_common(agreement, "CSV to write: people, scores, judge, measure, value, interval, pictures, prompts", "FILE")
    text = "what silmm benchmark tifa or dsg_1k wrote for the pictures of each model; without any, the judges of silmm"
    agreement.add_argument(
        "--rows", type=_row, nargs="+", default=[], metavar="MODEL=DIR", help=f"{text} stay unmeasured"
    )
    text = "Make the pictures that people rated ready for silmm benchmark: a map of each model's, TIFA's questions."
    maps: Parser = commands.add_parser("agreement-maps", help=text, description=text)
    _add_common(maps, "folder to write: tifa/MODEL.json, dsg_1k/MODEL.json, tifa_data/", "DIR")
    maps.add_argument("--pictures", type=Path, required=True, metavar="DIR", help="the published annotated pictures")
    maps.add_argument("--tifa", type=Path, metavar="DIR", help="folder of TIFA's own files")
    return agreement, maps


def _add_common(parser: Parser, out: str, kind: str) -> None:
    parser.add_argument("--humans", type=Path, nargs="+", required=True, metavar="FILE", help=_HUMANS)
    parser.add_argument("--out", type=Path, required=True, metavar=kind, help=out)
    parser.set_defaults(threads=1)


def keywords(args: argparse.Namespace) -> dict[str, Any]:
    """The options as keyword arguments of `stages.agreement.run` or `stages.agreement_maps.run`.

    Raises InputError for a model that is given twice.
    """
    given = {"humans": tuple(args.humans), "out": args.out}
    if args.command == "agreement-maps":
        return {**given, "pictures": args.pictures, "tifa": args.tifa}
    models = [model for model, _ in args.rows]
    if twice := [model for model in models if models.count(model) > 1]:
        raise InputError(f"--rows {twice[0]}: given more than once: one folder a model")
    return {**given, "rows": dict(args.rows)}


def _row(text: str) -> tuple[str, Path]:
    model, equals, folder = text.partition("=")
    if not equals or not model or not folder:
        raise argparse.ArgumentTypeError(f"'{text}' is no MODEL=DIR")
    return model, Path(folder)
