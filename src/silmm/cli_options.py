"""The options of every command: those of a stage's settings from its dataclass, the others from one table.

No heavy import here: `silmm --help` must answer in a third of a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from silmm.arms import ADOPTED, SHAPEWORLD, flag
from silmm.benchmark_config import SAMPLING
from silmm.errors import InputError
from silmm.report.entries import CONTROL, ROLES
from silmm.settings import STAGES, Images, check


class Parser(argparse.ArgumentParser):
    """argparse, with errors on one line and no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Print `silmm images: error: ...` and exit with 2."""
        sys.stderr.write(f"{self.prog}: error: {message} (see {self.prog} --help)\n")
        raise SystemExit(2)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"'{text}' is no shard: I/N with I from 0 to N-1, e.g. 0/2")
    return int(index), int(count)


def entry(text: str) -> dict[str, Any]:
    """`lmm=L,arm=A,seed=S,iteration=T,dir=D`, perhaps with `role=R`, as a dictionary with the folder as `dir`."""
    names, _, folder = text.partition(",dir=")  # a folder's name may have commas
    fields = dict(part.partition("=")[::2] for part in names.split(","))
    if not folder or sorted({"role": CONTROL, **fields}) != ["arm", "iteration", "lmm", "role", "seed"]:
        raise argparse.ArgumentTypeError(f"'{text}' is no lmm=...,arm=...,seed=...,iteration=...,dir=...")
    if not (fields["seed"].isdecimal() and fields["iteration"].isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}': seed and iteration must be whole numbers")
    if fields.get("role", CONTROL) not in ROLES:
        raise argparse.ArgumentTypeError(f"'{text}': role is {fields['role']!r}: choose one of {', '.join(ROLES)}")
    numbers = {name: int(fields[name]) for name in ("seed", "iteration")}
    return {**fields, **numbers, "dir": Path(folder)}


def _policy(text: str) -> dict[str, Any]:
    names, _, folder = text.partition(",dir=")
    fields = dict(part.partition("=")[::2] for part in names.split(","))
    if not folder or sorted(fields) != ["iteration", "lmm"] or not fields["iteration"].isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no lmm=...,iteration=...,dir=...")
    if fields["lmm"] not in SHAPEWORLD:
        raise argparse.ArgumentTypeError(f"'{text}': lmm is {fields['lmm']!r}: choose one of {', '.join(SHAPEWORLD)}")
    return {"lmm": fields["lmm"], "iteration": int(fields["iteration"]), "dir": Path(folder)}


def above_zero(text: str) -> int:
    """The type of an option that is a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number, at least 1")
    return int(text)


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number, not negative")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' must be a number above 0")
    return value


OWN = "; a pretrained LMM has its own"  # of a default

_FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}
_DIR: dict[str, Any] = {"type": Path, "metavar": "DIR"}

# Inputs: they must exist, which is checked before anything heavy is imported.
INPUTS: dict[str, dict[str, Any]] = {
    "ckpt": {**_DIR, "help": "checkpoint folder of the policy"},
    "base": {**_DIR, "help": "checkpoint folder of the base"},
    "after": {**_DIR, "help": "checkpoint folder of the policy to stand beside it"},
    "shipped": {**_DIR, "help": "a base that was made before: copied if it was made with these settings"},
    "start": {**_DIR, "help": "the discrete base that a continuous LMM is trained from"},
    "prompts": {**_FILE, "help": "prompts.jsonl of this iteration"},
    "qa": {**_FILE, "help": "qa.jsonl of this iteration"},
    "scores": {**_FILE, "help": "scores.parquet of this iteration"},
    "pairs": {**_FILE, "help": "pairs.parquet of this iteration"},
    "avoid": {
        "type": Path,
        "nargs": "+",
        "metavar": "PATH",
        "help": "files or folders of benchmark prompts: a draft that matches one is dropped and counted",
    },
    "images": {**_DIR, "nargs": "+", "help": "image folders (shards) of this iteration"},
    "summary": {**_FILE, "help": "summary.csv"},
    "gains": {**_FILE, "help": "gains.csv"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "out": {"type": Path, "metavar": "PATH", "help": "what to write; it appears whole or not at all"},
    "stats": {**_FILE, "help": "counts and measurements to write beside it"},
    "state": {**_DIR, "help": "folder of resumable state, removed when the work is done"},
    "processes": {
        "type": _not_negative,
        "metavar": "N",
        "default": 1,
        "help": "train in so many processes on this machine, one a GPU (0 is 1)",
    },
    "tensorboard": {**_DIR, "help": "folder of TensorBoard's files, to look at the metrics as they come"},
    "gains-out": {**_FILE, "help": "gains.csv to write: paired differences to the base and between arms"},
    "lmm": {"choices": SHAPEWORLD, "default": SHAPEWORLD[0], "help": "which of ShapeWorld's LMMs"},
    "family": {"choices": ADOPTED, "help": "what kind of LMM it is"},
    "seed": {"type": _not_negative, "default": 0, "help": "every random draw is keyed by it"},
    "iteration": {"type": above_zero, "metavar": "T", "help": "number of the iteration, from 1"},
    "shard": {"type": _shard, "default": (0, 1), "metavar": "I/N", "help": "the I-th of N parts, from 0"},
    "strength": {
        "type": _positive,
        "default": 1.35,
        "help": "noise on the input embeddings of dream queries, times their root mean square; with the default,"
        " samples are as far apart as DivDrop's on the shipped base",
    },
    "entry": {
        "type": entry,
        "action": "append",
        "metavar": "lmm=L,arm=A,seed=S,iteration=T,dir=D",
        "help": "one judged policy: D holds eval.parquet and eval.stats.json; the base is iteration 0; give one each. "
        "',role=main' before ',dir=' marks the main arm's, ',role=untrained' those of an arm that trains nothing",
    },
    "aligned": {
        "type": entry,
        "action": "append",
        "metavar": "lmm=L,arm=A,seed=S,iteration=T,dir=D",
        "help": "one alignment: D is its checkpoint folder; give one each. ',role=main' before ',dir=' marks the main "
        "arm's",
    },
    "ckpt-of": {
        "type": _policy,
        "action": "append",
        "metavar": "lmm=L,iteration=T,dir=D",
        "help": "one policy: D is its checkpoint folder; the base is iteration 0; give one each",
    },
}

# The options of each stage, in the order of --help; [x] is optional.
STAGE_OPTIONS = {
    "pretrain": "lmm seed out state [shipped] [start]",
    "adopt": "family seed out",
    "prompts": "ckpt seed iteration out stats [state] [avoid]",
    "images": "ckpt prompts seed iteration shard out",
    "questions": "ckpt prompts out stats [state]",
    "score": "ckpt qa images out",
    "pairs": "scores qa images seed iteration out stats",
    "align": "ckpt pairs prompts qa images seed iteration out state [processes] [tensorboard]",
    "evaluate": "ckpt seed out stats [pairs] [prompts] [images]",
}

# Commands that draw as step 2 does, with its settings, to look at what comes out: their own options, and what they do.
LOOKS = {
    "sample-sheet": ("base after seed out", "Draw several samples of the same prompts with two policies, in rows."),
    "divdrop-grid": ("ckpt seed out", "Measure DivDrop's rates and numbers of layers, and draw them."),
    "diversity": ("ckpt seed out strength", "Measure ways to make a prompt's samples differ: a row a sample."),
}
AUDIT_OPTIONS = "prompts qa scores images out"


def add_options(parser: argparse.ArgumentParser, names: str) -> None:
    """Add the named options (`[x]`: optional) and --threads."""
    for name in names.split():
        plain = name.strip("[]")
        spec = INPUTS.get(plain) or OTHERS[plain]
        required = plain == name and "default" not in spec
        dest = plain.replace("-", "_")
        parser.add_argument(f"--{plain}", dest=dest, required=required, **_with_default(spec))
    parser.add_argument("--threads", **_with_default({"type": above_zero, "default": 1, "help": "CPU threads"}))


def add_stage(commands: Any, stage: str) -> Parser:
    """Add the command of a stage."""
    kind = STAGES[stage]
    parser: Parser = commands.add_parser(stage, help=_first_line(kind), description=_first_line(kind))
    add_options(parser, STAGE_OPTIONS[stage])
    add_settings(parser, stage, SAMPLING if stage == "images" else ())
    return parser


def add_settings(parser: Parser, stage: str, own: Collection[str] = ()) -> None:
    """Add the options of all settings of a stage; `own`: names of those whose default a pretrained LMM has."""
    group = parser.add_argument_group("settings")
    hints = typing.get_type_hints(STAGES[stage])
    for f in dataclasses.fields(STAGES[stage]):
        add_setting(group, stage, f, hints[f.name], f"{f.default}{OWN}" if f.name in own else f.default)


def add_setting(group: Any, stage: str, field: dataclasses.Field[Any], hint: Any, default: Any) -> None:
    """Add the option of one settings field: its type, choices, and help with what it is where nobody gives it
    (`settings_from` knows: what is parsed is None then)."""
    meta = field.metadata
    spec: dict[str, Any] = {"dest": f"{stage}.{field.name}", "default": None}
    if hint is bool:
        spec["action"] = argparse.BooleanOptionalAction
    elif typing.get_origin(hint) is tuple:
        spec |= {"type": lambda text: tuple(text.split(",")), "metavar": "A,B,..."}
        default = ",".join(typing.cast(tuple[str, ...], default))
    elif meta.get("choices"):
        spec["choices"] = meta["choices"]
    else:
        spec |= {"type": hint, "metavar": hint.__name__.upper()}
    text = f"{meta.get('help', '')} (default: {default})".replace("%", "%%")
    group.add_argument(flag(stage, field.name), help=text, **spec)


def settings_from(args: argparse.Namespace, stage: str, defaults: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The settings dataclass of a stage: options that were given, else `defaults`, else the stage's own; InputError
    where a limit is broken."""
    kind = STAGES[stage]
    parsed = {f.name: getattr(args, f"{stage}.{f.name}", None) for f in dataclasses.fields(kind)}
    settings = kind(**{**defaults, **{name: value for name, value in parsed.items() if value is not None}})
    try:
        check(settings)
    except ValueError as error:
        raise InputError(str(error)) from None
    return settings


def paths_and_keys(args: argparse.Namespace, names: str) -> dict[str, Any]:
    """The named options as keyword arguments; InputError for an input that is not there."""
    keywords: dict[str, Any] = {"threads": args.threads}
    for name in (name.strip("[]") for name in names.split()):
        value = getattr(args, name.replace("-", "_"))
        value = tuple(value) if isinstance(value, list) else value
        if name in INPUTS and value is not None:
            check_inputs(value if isinstance(value, tuple) else (value,), name)
        keywords[name.replace("-", "_")] = value
    return keywords


def check_inputs(paths: tuple[Path, ...], name: str) -> None:
    """InputError for a path that is not there, or a folder that is a file or the other way round."""
    for path in paths:
        metavar = INPUTS[name]["metavar"]
        if not {"DIR": path.is_dir, "FILE": path.is_file, "PATH": path.exists}[metavar]():
            kind = {"DIR": "folder", "FILE": "file", "PATH": "file or folder"}[metavar]
            found = "not a" if path.exists() else "no such"
            raise InputError(f"{path}: {found} {kind} (--{name}): expected {INPUTS[name]['help'].partition(':')[0]}")


def add_drawing(parser: Parser) -> None:
    """Add the options of `silmm draw`; how to sample is as in step 2 where no option says it."""
    parser.add_argument("prompt", metavar="PROMPT")
    add_options(parser, "ckpt out seed")
    parser.add_argument("--n", **_with_default({"type": above_zero, "default": 8, "help": "images to draw"}))
    parser.add_argument("--best", action="store_true", help="keep only the one that the LMM itself scores best")
    add_sampling(parser)


def add_sampling(group: Any, defaults: Mapping[str, Any] = MappingProxyType({})) -> None:
    """The settings of step 2 that say how to sample, some with another default, which a pretrained LMM has, too."""
    hints = typing.get_type_hints(Images)
    for f in dataclasses.fields(Images):
        if f.name in SAMPLING:
            add_setting(group, "images", f, hints[f.name], defaults.get(f.name, f"{f.default}{OWN}"))


def add_planning(parser: Parser) -> None:
    """Add the options of `silmm plan`."""
    text = "config files, as for snakemake --configfile: on top of config/default.yaml"
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG", help=text)
    text = "memory of a device (default: of the first GPU, or 80 where there is none)"
    parser.add_argument("--memory", type=_positive, metavar="GIB", help=text)
    parser.add_argument("--devices", **_with_default({"type": above_zero, "default": 1, "help": "how many there are"}))
    text = "results folder to take speeds from (default: the config's own)"
    parser.add_argument("--measured", type=Path, metavar="DIR", help=text)


def _with_default(spec: dict[str, Any]) -> dict[str, Any]:
    if spec.get("default") is None:
        return spec
    default = "/".join(map(str, spec["default"])) if isinstance(spec["default"], tuple) else spec["default"]
    return {**spec, "help": f"{spec['help']} (default: {default})"}


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0].replace("%", "%%")
