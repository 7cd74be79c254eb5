"""Throughput of pretrained LMMs beside transformers alone, with the same weights, in one run.

    python -m bench.lmms --device cpu

draw     images/s, with guidance: `silmm`'s loop against transformers' `generate` with all samples in one batch
answer   answers/s: all questions of a picture on one reading of it against a forward pass of picture and question each

The weights are random and have LoRA in place, as a policy's do. On a CPU they are narrow and shallow, with as many
visual tokens as Janus has, and fewer than Emu3's 90 x 90; times are CPU time of one thread. On a GPU they are as wide
as the published ones, but shallow. The ways take turns; the median of the rounds is kept.
"""

from __future__ import annotations

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch

from bench import lmm_plain, lmm_weights, stages, table
from bench.lmm_weights import Size
from bench.stages import Task, Way
from silmm.lmm.emu3.lmm import Emu3LMM
from silmm.lmm.hf.checkpoint import family_of
from silmm.lmm.interface import Sampling
from silmm.lmm.janus.lmm import JanusLMM

PROMPTS = ("a red apple on a wooden table", "a small blue glass vase to the left of a clock, near a window")
SAMPLES, PICTURES, QUESTIONS, ROUNDS = 4, 2, 8, 3
SAMPLING = {name: Sampling(**family_of(name).sampling) for name in ("janus", "emu3")}  # as published
WORDS = ("apple", "dog", "horse", "clock", "table", "window", "man", "vase")


def drawing(lmm: JanusLMM | Emu3LMM, sampling: Sampling) -> dict[str, Way]:
    """Draw the same prompts both ways."""
    keys = [[("bench", p, k) for k in range(SAMPLES)] for p in range(len(PROMPTS))]
    return {
        "silmm": lambda: lmm.draw(PROMPTS, keys, sampling),
        "transformers generate": lambda: lmm_plain.draw(lmm, PROMPTS, SAMPLES, sampling),
    }


def answering(lmm: JanusLMM | Emu3LMM, side: int) -> dict[str, Way]:
    """Answer the same questions about the same pictures both ways."""
    images = list(np.random.default_rng(0).integers(0, 256, (PICTURES, side, side, 3)).astype(np.uint8))
    asked = [f"Is there a {word} in the picture?" for word in WORDS[:QUESTIONS]]
    return {
        "silmm": lambda: lmm.look(images, [asked] * PICTURES),
        "one forward a question": lambda: [lmm_plain.probabilities(lmm, i, q) for i in images for q in asked],
    }


def tasks(family: str, size: Size, dtype: str) -> Iterator[Task]:
    """What is measured of a family."""
    rows = 2 * len(PROMPTS) * SAMPLES  # all in one pass, as `generate` does it
    with tempfile.TemporaryDirectory() as folder:
        loaded = lmm_weights.load(family, size, Path(folder), rows=rows, dtype=dtype)
    lmm = cast("JanusLMM | Emu3LMM", loaded)
    model = f"width {size.width}, {size.layers} layers"
    pictures = f"{len(PROMPTS)} prompts x {SAMPLES}, {lmm.length} tokens, {model}"
    yield Task(f"{family} draw", pictures, drawing(lmm, SAMPLING[family]), len(PROMPTS) * SAMPLES, "images")
    questions = f"{PICTURES} pictures x {QUESTIONS}, {size.side} pixels, {model}"
    yield Task(f"{family} answer", questions, answering(lmm, size.side), PICTURES * QUESTIONS, "answers")


def others(path: Path, device: str) -> list[tuple[str, ...]]:
    """The rows of other devices that a file has."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [tuple(row) for row in csv.reader(stream)]
    return [row for row in rows[1:] if rows[0] == stages.COLUMNS and row[2] != device]


def synchronised() -> float:
    """Seconds by the clock, once the GPU has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--family", choices=[*lmm_weights.SIZES], action="append", help="default: all")
    parser.add_argument("--width", type=int, help="channels of the language model; a multiple of 64")
    parser.add_argument("--layers", type=int, help="of the language model")
    parser.add_argument("--side", type=int, help="pixels of a picture")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("bench/results/lmms.csv"))
    args = parser.parse_args()
    cuda = args.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch finds no CUDA device")
    if not cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else silmm would take the GPU
    torch.set_num_threads(1)
    device = table.name_of(torch.device("cuda")) if cuda else "cpu, 1 thread"
    clock = synchronised if cuda else time.process_time
    given = {name: value for name in ("width", "layers", "side") if (value := getattr(args, name))}
    rows = []
    for family in args.family or lmm_weights.SIZES:
        size = lmm_weights.SIZES[family][cuda]._replace(**given)
        for task in tasks(family, size, "bfloat16" if cuda else "float32"):
            rows += stages.rows_of(task, device, clock, args.rounds)
    stages.write(args.out, [*others(args.out, device), *rows])


if __name__ == "__main__":
    main()
