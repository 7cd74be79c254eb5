"""The options of `silmm benchmark`, which judges pictures of a public benchmark, whoever drew them, and of
`silmm benchmark-images`, which draws them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from silmm.benchmark_config import PLAIN
from silmm.benchmarks.judges.interface import ROLES
from silmm.benchmarks.registry import BENCHMARKS
from silmm.cli_options import Parser, above_zero, add_options, add_sampling
from silmm.errors import InputError

WHAT = ("name", "data", "download", "only", "first")  # which prompts of which benchmark
DRAWING = "ckpt shard out [state]"
EPILOG = """benchmarks:
{benchmarks}

Pictures have the benchmark's official names: docs/benchmarks.md has them, and where the data and the judges come from.
"""


def add_benchmark(commands: Any) -> Parser:
    """Add the command."""
    text = "Judge the pictures of a public benchmark: official and corrected scores, with intervals."
    rows = "\n".join(f"  {name:17}{what}" for name, what in BENCHMARKS.items())
    parser: Parser = commands.add_parser(
        "benchmark",
        help=text,
        description=text,
        epilog=EPILOG.format(benchmarks=rows),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_what(parser)
    text = "the pictures: folders, ZIP archives, or a JSON map"
    parser.add_argument("--images", type=Path, nargs="+", metavar="PATH", help=text)
    parser.add_argument(
        "--ckpt", type=Path, metavar="DIR", help="an LMM to draw them with into OUT.pictures, instead of --images"
    )
    parser.add_argument("--lmm", metavar="NAME", help="what the tables call the model that drew")
    roles = "; ".join(f"{role} {what}" for role, what in ROLES.items())
    parser.add_argument(
        "--judge",
        type=_judge,
        action="append",
        default=[],
        metavar="ROLE=SOURCE",
        help="a folder with weights, or a hub id (OWNER/NAME@REVISION; one that is not of the main branch is not the"
        f" official judge); one each ({roles}; default: the official one)",
    )
    text = "what else the numbers hang on, e.g. guidance=3.0, rewriting=none: it stands beside them"
    parser.add_argument("--note", type=_note, action="append", default=[], metavar="NAME=VALUE", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write: scores, table, rows")
    text = "folder of what the judges saw so far, removed when the work is done (default: OUT.state)"
    parser.add_argument("--state", type=Path, metavar="DIR", help=text)
    parser.add_argument("--threads", type=above_zero, default=1, metavar="N", help="CPU threads (default: 1)")
    add_sampling(parser.add_argument_group("how --ckpt draws"), PLAIN)
    return parser


def add_benchmark_images(commands: Any) -> Parser:
    """Add the command; how to sample has the defaults of step 2, without DivDrop."""
    text = "Draw what a public benchmark wants: its prompts, with its numbers of pictures, seeds and file names."
    parser: Parser = commands.add_parser("benchmark-images", help=text, description=text)
    add_what(parser)
    add_options(parser, DRAWING)
    add_sampling(parser.add_argument_group("settings"), PLAIN)
    return parser


def add_what(parser: Parser) -> None:
    """Add the options that say which prompts of which benchmark."""
    parser.add_argument("name", choices=BENCHMARKS, metavar="BENCHMARK", help=f"one of {', '.join(BENCHMARKS)}")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the benchmark's own files")
    parser.add_argument("--download", action="store_true", help="fetch those that are missing there")
    parser.add_argument(
        "--only", type=lambda text: tuple(text.split(",")), default=(), metavar="A,B,...", help="these categories alone"
    )
    text = "the first N prompts of each category alone, for trying out: no number to report"
    parser.add_argument("--first", type=above_zero, metavar="N", help=text)


def keywords(args: argparse.Namespace) -> dict[str, Any]:
    """The options as keyword arguments of `stages.benchmark.run`, without the pictures.

    Raises InputError for a role that is given twice, and where neither or both of --images and --ckpt are.
    """
    if (args.images is None) == (args.ckpt is None):
        raise InputError("give the pictures (--images), or a checkpoint to draw them with (--ckpt), and not both")
    roles = [role for role, _ in args.judge]
    if twice := [role for role in roles if roles.count(role) > 1]:
        raise InputError(f"--judge {twice[0]}: given more than once: one judge a role")
    names = (*WHAT, "lmm", "out", "state", "threads")
    return {**{name: getattr(args, name) for name in names}, "judge": dict(args.judge), "note": dict(args.note)}


def _judge(text: str) -> tuple[str, str]:
    role, equals, source = text.partition("=")
    if not equals or not source or role not in ROLES:
        raise argparse.ArgumentTypeError(f"'{text}' is no ROLE=SOURCE with a role of {', '.join(ROLES)}")
    return role, source


def _note(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise argparse.ArgumentTypeError(f"'{text}' is no NAME=VALUE")
    return name, value
