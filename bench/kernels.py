"""Time the kernels on the devices that are there: `python -m bench.kernels`; rows go to bench/results/kernels.csv.

First the ceilings: a copy far larger than the caches (and reading or writing alone), and a matrix product. Then for
each op and shape: do all implementations compute the same, and is it right; and then the times, with these beside ours:

    eager    what one would write in plain torch
    compile  torch.compile's version of it
    liger    Liger-Kernel's version, where that package is there and has one

`of_ceiling` is the time that the ceilings allow for the bytes and operations that the op cannot do without, over the
median; `vs_eager` and `vs_compile` say how many times faster than those. A result that is more than a twentieth faster
than the fastest pass over the memory came out of a cache: it is reported, not written, and the exit status is 1. Rows
of other devices stay.
While it runs, stderr has the times and in brackets the relative errors (nan: random numbers of its own).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

if not __package__:  # as `python bench/kernels.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench import ceilings, memory, table
from bench.cases import Case, cases
from bench.check import Wrong, known_answers, run_all
from bench.timing import keep_freed_memory, measure, sets_needed
from silmm.kernels import _dispatch

RESULTS = Path(__file__).parent / "results"


def say(message: str) -> None:
    """On stderr, whether or not the output is kept."""
    print(message, file=sys.stderr, flush=True)


def bench(case: Case, device: torch.device, *, quick: bool) -> tuple[dict[str, table.Times], list[table.Row]]:
    """Check a case, then time it: times by implementation, and rows of extra memory where the case wants them."""
    if quick:  # compiling takes seconds
        case = case._replace(ways={name: way for name, way in case.ways.items() if name != "compile"})
    sets = [case.new() for _ in range(sets_needed(case.nbytes, device, quick=quick))]
    errors, failed = run_all(case, sets[0])
    for name, reason in failed.items():
        say(f"{case.op} {case.shape} {case.mode}: no {name}: {reason}")
    ways = {name: way for name, way in case.ways.items() if name not in failed}
    times = measure(ways, sets, device, quick=quick)
    found = (f"{name} {t.median:.3g} ms ({errors.get(name, float('nan')):.0e})" for name, t in times.items())
    say(f"{case.op}  {case.shape}  {case.mode}:  {'  '.join(found)}")
    return times, memory.rows_of(case, ways, sets[0], table.name_of(device)) if case.memory else []


def run(device: torch.device, ops: list[str], *, quick: bool) -> tuple[list[table.Row], list[table.Row], int]:
    """The rows of a device, those of extra memory, and how many results were wrong or above the ceiling."""
    name, bad = table.name_of(device), 0
    known_answers(device)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    measured = [*ceilings.passes(device, quick=quick), ceilings.matmul(device, dtype, quick=quick)]
    limits = ceilings.limits(measured)
    say(f"{name}: copy {limits.copy / 1e6:.1f} GB/s, {dtype} matmul {limits.matmul[dtype] / 1e9:.3f} TFLOP/s")
    rows, extra = [table.ceiling_row(c, name) for c in measured], []
    for op in ops:
        for case in cases(op, device, quick):
            try:
                times, more = bench(case, device, quick=quick)
            except Wrong as wrong:
                say(f"WRONG: {wrong}")
                bad += 1
                continue
            least = limits.milliseconds(case.nbytes, case.flop, case.dtype, copying=False)
            for row in table.rows_of(case, times, name, None if quick else limits):
                of_fastest = least / times[row["impl"]].median
                if of_fastest > ceilings.ABOVE and not quick:
                    say(f"REJECTED: {op} {row['impl']} {case.shape} {case.mode}: {of_fastest:.3f} of the ceiling")
                    bad += 1
                else:
                    rows.append(row)
            extra += more
    return rows, extra, bad


def main() -> int:
    """Run, write and print; 1 if a result was wrong or too good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="all that are there by default")
    parser.add_argument("--op", action="append", choices=list(_dispatch.OPS), help="all by default; may be repeated")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels.csv", help="CSV file to write")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, one round: for tests, no result")
    options = parser.parse_args()
    if options.quick and options.out == RESULTS / "kernels.csv":
        parser.error("--quick makes no results: name another file with --out")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("bench.kernels: --device cuda: torch finds no CUDA device")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()
    devices = [options.device] if options.device else ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    rows, extra, bad = [], [], 0
    for device in devices:
        new, more, count = run(torch.device(device), options.op or list(_dispatch.OPS), quick=options.quick)
        rows, extra, bad = [*rows, *new], [*extra, *more], bad + count
    table.write(options.out, table.COLUMNS, table.merged(table.read(options.out), rows))
    if extra:
        path = options.out.with_name("selective_logps_memory.csv")
        table.write(path, memory.COLUMNS, table.merged(memory.read(path), extra))
        print(memory.text(extra), end="\n\n")
    print(table.text(rows))
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
