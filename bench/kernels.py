"""Time the kernels: `make bench`, half a minute on a quiet core; rows go to bench/results/kernels.csv.

Times are CPU time of one thread, which other jobs on the machine hardly touch. Of each case all implementations run in
turn, round after round; the median counts. Two rows beside ours give the scale:

    eager  what one would write in plain torch (nucleus: float32 softmax, sort, cumulative sum, multinomial;
           decode_attention: the reference)
    limit  one pass that only reads the input (the maximum of the logits; the sum of the cache): nothing can be faster

ratio_to_eager says how many times faster than eager; ratio_to_limit how many times slower than the limit.
items_per_s counts tokens; gb_per_s counts each logit, or each key and value that a step attends to, as read once.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from silmm.kernels import available, decode_attention, nucleus
from silmm.kernels.decode_attention import Cache, Prefix

RESULTS = Path(__file__).parent / "results" / "kernels.csv"
ROUNDS = 9
# (rows, vocabulary): ShapeWorld's visual codes; one Janus image; Emu3's visual codes; a whole text vocabulary
SHAPES = ((512, 256), (64, 16_384), (16, 32_768), (4, 184_622))
CASES = ((1.0, 0.9), (1.0, 1.0))  # (temperature, top_p)
STEPS = ((64, 8, 0), (64, 8, 17), (64, 8, 35), (64, 1, 17))  # (prompts, samples, place of the step)


def eager(logits_BV: Tensor, temperature: float, top_p: float) -> Tensor:
    """Nucleus sampling as it is usually written; the whole distribution needs no sort."""
    probs_BV = (logits_BV / temperature).softmax(dim=1)
    if top_p >= 1.0:
        return torch.multinomial(probs_BV, 1).squeeze(1)
    probs_BV, order_BV = probs_BV.sort(dim=1, descending=True)
    probs_BV = probs_BV.masked_fill(probs_BV.cumsum(dim=1) - probs_BV >= top_p, 0.0)
    return order_BV.gather(1, torch.multinomial(probs_BV, 1)).squeeze(1)


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median CPU seconds of each call, timed in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if round_:  # the first round warms up
                times[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def bench_nucleus(rows: int, vocab: int, temperature: float, top_p: float) -> list[dict[str, object]]:
    """One CSV row an implementation for logits [rows, vocab] with a spread like that of a trained model."""
    generator = torch.Generator().manual_seed(0)
    logits_BV = torch.randn(rows, vocab, generator=generator) * 3
    uniforms_B = torch.rand(rows, generator=generator, dtype=torch.float64)

    def ours(impl: str) -> Callable[[], Tensor]:
        return lambda: nucleus(logits_BV, uniforms_B, temperature=temperature, top_p=top_p, impl=impl)

    calls: dict[str, Callable[[], object]] = {
        "limit": lambda: logits_BV.amax(dim=1),
        "eager": lambda: eager(logits_BV, temperature, top_p),
    }
    calls |= {impl: ours(impl) for impl, state in available()["nucleus"].items() if state == "ready"}
    tokens = [ours(impl)() for impl in calls if impl not in ("limit", "eager")]
    assert all(torch.equal(tokens[0], other) for other in tokens), "implementations disagree"
    return table("nucleus", f"{rows}x{vocab} top_p={top_p}", calls, logits_BV.nbytes, rows)


def bench_decode_attention(prompts: int, samples: int, place: int) -> list[dict[str, object]]:
    """One CSV row an implementation for a step of ShapeWorld's LMM: 4 heads of 24, 24 prefix places."""
    heads, dim, start, length = 4, 24, 24, 40
    rows = prompts * samples
    seen_PT = torch.ones(prompts, start, dtype=torch.bool)
    prefix = Prefix(torch.randn(prompts, heads, dim, start), torch.randn(prompts, heads, start, dim), seen_PT)
    cache = Cache(torch.randn(rows, heads, dim, length), torch.randn(rows, heads, length, dim))
    q, k, v = torch.randn(3, rows, heads, dim)
    rotary = torch.randn(dim), torch.randn(dim)

    def ours(impl: str) -> Callable[[], Tensor]:
        return lambda: decode_attention(q, k, v, rotary, prefix, cache, place, scale=0.2, impl=impl)

    def limit() -> object:
        return cache.keys_BHDL[..., : place + 1].sum(), cache.values_BHLD[..., : place + 1, :].sum()

    calls: dict[str, Callable[[], object]] = {"limit": limit, "eager": ours("reference")}
    calls |= {impl: ours(impl) for impl, state in available()["decode_attention"].items() if state == "ready"}
    read = 2 * 4 * heads * dim * (rows * (place + 1) + prompts * start)
    return table("decode_attention", f"{prompts}x{samples} place={place}", calls, read, rows)


def table(
    op: str, shape: str, calls: dict[str, Callable[[], object]], nbytes: int, items: int
) -> list[dict[str, object]]:
    """One CSV row a call."""
    seconds = medians(calls)
    return [
        {
            "op": op,
            "impl": impl,
            "device": "cpu",
            "shape": shape,
            "median_ms": f"{s * 1e3:.3f}",
            "gb_per_s": f"{nbytes / s / 1e9:.3f}",
            "items_per_s": f"{items / s:.0f}",
            "ratio_to_eager": f"{seconds['eager'] / s:.2f}",
            "ratio_to_limit": f"{s / seconds['limit']:.1f}",
        }
        for impl, s in seconds.items()
    ]


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    """Run all cases, print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="CSV file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    where = {
        "processor": processor(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
    rows = [
        row | where
        for shape in SHAPES
        for temperature, top_p in CASES
        for row in bench_nucleus(*shape, temperature, top_p)
    ]
    rows += [row | where for step in STEPS for row in bench_decode_attention(*step)]
    for row in rows:
        print(
            f"{row['op']:<17}{row['impl']:<11}{row['shape']:<22}{row['median_ms']:>9} ms"
            f"{row['ratio_to_eager']:>8} x eager{row['ratio_to_limit']:>8} x limit"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
