"""The `silmm` command: one sub-command a stage of the paper, and a few to look at what came out.

What is imported here decides how fast `silmm --help` answers: torch, numpy and pyarrow wait until a command runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from silmm import __version__, atomic, cli_agreement, cli_benchmark, cli_outputs, takeover
from silmm.benchmark_config import PLAIN
from silmm.cli_options import (
    AUDIT_OPTIONS,
    LOOKS,
    STAGE_OPTIONS,
    Parser,
    add_drawing,
    add_options,
    add_planning,
    add_settings,
    add_stage,
    check_inputs,
    paths_and_keys,
    settings_from,
)
from silmm.errors import InputError, TextError, TokensError
from silmm.settings import STAGES

_FULL = ": make room, then give the same command again; nothing half-written was left under its name"
_CLOSED = ": give a folder that you may write to"
_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST), _CLOSED),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 with one line on stderr for what the user can mend, 141 (as a shell says it)
    where nobody reads its output any more: `silmm plan CONFIG | head`."""
    args = build_parser().parse_args(argv)
    if run := os.environ.get("SILMM_RUN"):  # Snakemake's process: see workflow/rules/common.smk
        takeover.end_with(int(run))
    try:
        set_threads(args.threads)
        with _writer(args):
            cli_outputs.check(args)
            args.run(args)
        sys.stdout.flush()
    except InputError as error:
        return _fail(args.command, str(error))
    except KeyboardInterrupt:
        _fail(args.command, "interrupted; the same command goes on where it can")
        return 130
    except BrokenPipeError:
        _forget_output()
        return 141
    except OSError as error:  # missing file, no permission, full disk
        if error.strerror is None:
            raise
        _forget_output()
        advice = _ADVICE.get(error.errno or 0, "")
        # Of two files, the second one is written. Without any, a full disk is that of the standard output.
        where = (advice and error.filename2) or error.filename
        where = where or (None if advice is _FULL else getattr(args, "out", None))
        return _fail(args.command, f"{where}: {error.strerror}{advice}" if where else error.strerror + advice)
    return 0


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="silmm",
        description="Self-improvement of large multimodal models (SILMM, arXiv 2412.05818), step by step.",
        epilog="The whole loop runs as a workflow: snakemake --cores all",
    )
    parser.add_argument("--version", action="version", version=f"silmm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for stage in STAGES:
        add_stage(commands, stage).set_defaults(run=_stage)

    def command(name: str, run: Callable[[argparse.Namespace], None], text: str, options: str | None = None) -> Parser:
        sub: Parser = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        if options is not None:
            add_options(sub, options)
        return sub

    sub = command("gather", _gather, "Join the score tables of the shards.", "out")
    sub.add_argument("shards", nargs="+", type=Path, metavar="SHARD.parquet")
    command("summarize", _summarize, "Gather all evaluations into summary.csv and gains.csv.", "entry out gains-out")
    command("figure", _figure, "Draw accuracy by iteration, with the controls.", "lmm summary gains out")
    text = "Draw how KC-DPO trained: distances, drift, margins, the pairs' spread against gamma."
    command("kc-dpo-curves", _kc_dpo_curves, text, "aligned [summary] out")
    text = "Judge a policy's own answers in steps 3 and 4 by the oracle: a row an answer."
    command("audit", _audit, text, AUDIT_OPTIONS)
    text = "Draw the same prompts with two policies, side by side."
    command("contact-sheet", _contact_sheet, text, "base after seed out")
    text = "Draw the same prompts with every policy of a run, with questions, answers and verdicts: one HTML page."
    command("gallery", _gallery, text, "ckpt-of seed out")
    for name, (options, text) in LOOKS.items():
        add_settings(command(name, _look, text, options), "images")
    cli_benchmark.add_benchmark(commands).set_defaults(run=_benchmark)
    for sub in cli_agreement.add_agreement(commands):
        sub.set_defaults(run=_agreement)
    cli_benchmark.add_benchmark_images(commands).set_defaults(run=_benchmark_images)
    add_drawing(command("draw", _draw, "Draw a prompt."))
    sub = command("ask", _ask, "Ask a yes/no question about an image.", "ckpt")
    sub.add_argument("image", type=Path, metavar="IMAGE", help="a picture: PNG, JPEG, WebP, BMP or GIF")
    sub.add_argument("question", metavar="QUESTION")
    text = "Say what a config will take before it runs: weights, work, memory of every stage, time."
    sub = command("plan", _plan, text)
    sub.set_defaults(threads=1)
    add_planning(sub)
    text = "Say what is installed, and which implementation of each kernel serves, and why."
    command("doctor", _doctor, text).set_defaults(threads=1)
    return parser


def set_threads(threads: int) -> None:
    """Fix the number of threads; only what is imported afterwards obeys."""
    os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), MKL_DYNAMIC="FALSE")


def _writer(args: argparse.Namespace) -> AbstractContextManager[None]:
    """Alone with the output, if there is one."""
    out: Path | None = getattr(args, "out", None)
    return takeover.sole_writer(out) if out and out.name else nullcontext()


def _stage(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, STAGE_OPTIONS[args.command])
    all_said = None not in (getattr(args, f"images.{f.name}", None) for f in dataclasses.fields(STAGES["images"]))
    own = {} if args.command != "images" or all_said else _module("lmm").sampling_of(args.ckpt)
    settings = settings_from(args, args.command, own)
    try:
        _module(f"stages.{args.command}").run(settings, **keywords)
    except (TextError, TokensError) as error:  # an LMM does not know which file they are from
        holders = ("prompts", "qa") if isinstance(error, TextError) else ("images",)
        files = [str(file) for name in holders for file in _listed(keywords.get(name))]
        raise InputError(f"{' or '.join(files)}: {error}; make the file again with this LMM") from None


def _gather(args: argparse.Namespace) -> None:
    from silmm.records import gather

    gather(args.shards, args.out)


def _summarize(args: argparse.Namespace) -> None:
    entry = _module("report.entries").Entry
    entries = []
    for values in args.entry:
        folder = values.pop("dir")
        entries.append(entry(**values, eval=folder / "eval.parquet", stats=folder / "eval.stats.json"))
    _module("report.summarize").run(entries, args.out, args.gains_out)


def _figure(args: argparse.Namespace) -> None:
    check_inputs((args.summary,), "summary")
    check_inputs((args.gains,), "gains")
    _module("report.accuracy").run(args.summary, args.gains, args.out, lmm=args.lmm)


def _kc_dpo_curves(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, "[summary] out")
    runs = [_module("report.entries").Step(**one) for one in args.aligned]
    _module("report.kc_dpo_curves").run(runs, keywords["summary"], keywords["out"])


def _audit(args: argparse.Namespace) -> None:
    _module("stages.audit").run(**paths_and_keys(args, AUDIT_OPTIONS))


def _contact_sheet(args: argparse.Namespace) -> None:
    _module("stages.contact_sheet").run(**paths_and_keys(args, "base after seed out"))


def _gallery(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, "seed out")
    policies = [_module("report.entries").Policy(**one) for one in args.ckpt_of]
    for policy in policies:
        check_inputs((policy.dir,), "ckpt")
    _module("stages.gallery").run(policies=policies, **keywords)


def _look(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, LOOKS[args.command][0])
    _module(f"stages.{args.command.replace('-', '_')}").run(settings_from(args, "images"), **keywords)


def _benchmark(args: argparse.Namespace) -> None:
    keywords = cli_benchmark.keywords(args)
    images = tuple(args.images) if args.images else (_draw_for(args),)
    _module("stages.benchmark").run(images=images, **keywords)


def _draw_for(args: argparse.Namespace) -> Path:
    """The pictures of `silmm benchmark --ckpt`, beside its output; those that are there already are not drawn again."""
    check_inputs((args.ckpt,), "ckpt")
    pictures, state = (args.out.with_name(args.out.name + suffix) for suffix in (".pictures", ".pictures.state"))
    what = {name: getattr(args, name) for name in (*cli_benchmark.WHAT, "ckpt", "threads")}
    with takeover.sole_writer(pictures):
        atomic.check_dir(pictures, "silmm benchmark-images")
        _module("stages.benchmark_images").run(_sampling(args, PLAIN), shard=(0, 1), out=pictures, state=state, **what)
    return pictures


def _agreement(args: argparse.Namespace) -> None:
    _module(f"stages.{args.command.replace('-', '_')}").run(**cli_agreement.keywords(args))


def _draw(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, "ckpt out seed")
    settings = _sampling(args)
    _module("stages.inference").draw(prompt=args.prompt, n=args.n, best=args.best, settings=settings, **keywords)


def _benchmark_images(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, cli_benchmark.DRAWING)
    settings = _sampling(args, PLAIN)
    keywords |= {name: getattr(args, name) for name in cli_benchmark.WHAT}
    _module("stages.benchmark_images").run(settings, **keywords)


def _sampling(args: argparse.Namespace, defaults: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Settings of step 2 from the options that say how to sample, else `defaults`, else the family's own."""
    try:
        return settings_from(args, "images", {**_module("lmm").sampling_of(args.ckpt), **defaults})
    except InputError as error:
        raise InputError(str(error).replace("images.", "")) from None


def _ask(args: argparse.Namespace) -> None:
    keywords = paths_and_keys(args, "ckpt")
    if not args.image.is_file():
        raise InputError(f"{args.image}: no such file")
    _module("stages.inference").ask(image=args.image, question=args.question, **keywords)


def _plan(args: argparse.Namespace) -> None:
    _module("forecast.page").run(args.configs, memory=args.memory, devices=args.devices, measured=args.measured)


def _doctor(args: argparse.Namespace) -> None:
    _module("doctor").run()


def _module(name: str) -> Any:
    """Import `silmm.<name>`: late, because stages import torch."""
    return importlib.import_module(f"silmm.{name}")


def _listed(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _fail(command: str, message: str) -> int:
    """One line, whatever a file or a model wrote into it: a terminal obeys control characters."""
    line = " ".join(message.split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    _end_bars()
    print(f"silmm {command}: error: {line}", file=sys.stderr)
    return 2


def _end_bars() -> None:
    """Progress bars that an error left open say their last before it, not after: the error is the last line."""
    if bars := sys.modules.get("tqdm"):
        for bar in list(getattr(bars.tqdm, "_instances", ())):
            bar.close()


def _forget_output() -> None:
    """What could not be printed is not tried again when Python ends, which would say so in many lines."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
