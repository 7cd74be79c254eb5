"""Time the kernels: `make bench`, half a minute on a quiet core; rows go to bench/results/kernels.csv.

Times are CPU time of one thread, which other jobs on the machine hardly touch. Of each case all implementations run in
turn, round after round; the median counts. Two rows beside ours give the scale:

    eager  what one would write in plain torch: float32 softmax, sort, cumulative sum, multinomial
    limit  one pass that only reads the logits (their maximum): no sampler can be faster

ratio_to_eager says how many times faster than eager; ratio_to_limit how many times slower than the limit.
items_per_s counts tokens drawn; gb_per_s counts each logit as read once.
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

from silmm.kernels import available, nucleus

RESULTS = Path(__file__).parent / "results" / "kernels.csv"
ROUNDS = 9
# (rows, vocabulary): ShapeWorld's visual codes; one Janus image; Emu3's visual codes; a whole text vocabulary
SHAPES = ((512, 256), (64, 16_384), (16, 32_768), (4, 184_622))
CASES = ((1.0, 0.9), (1.0, 1.0))  # (temperature, top_p)


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
    seconds = medians(calls)
    return [
        {
            "op": "nucleus",
            "impl": impl,
            "device": "cpu",
            "shape": f"{rows}x{vocab} top_p={top_p}",
            "median_ms": f"{s * 1e3:.3f}",
            "gb_per_s": f"{logits_BV.nbytes / s / 1e9:.3f}",
            "items_per_s": f"{rows / s:.0f}",
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
    for row in rows:
        print(
            f"{row['op']:<9}{row['impl']:<11}{row['shape']:<22}{row['median_ms']:>9} ms"
            f"{row['ratio_to_eager']:>8} x eager{row['ratio_to_limit']:>8} x limit"
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
