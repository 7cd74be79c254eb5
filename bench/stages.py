"""Throughput of the loop's costly parts beside the plain way to do them, in one run.

    python -m bench.stages --ckpt checkpoints/discrete_seed0 --continuous checkpoints/continuous_seed0

draw     images/s: `silmm`'s shared-prefix decoding against transformers' `generate` on N copies of each prompt
answer   answers/s: all questions of an image in one pass against one forward a question
train    tokens/s of a DPO step: cached reference log-probs against a reference forward in every step
paint    images/s of the flow decoder, from features

DivDrop's shared trunk has a file of its own: bench/trunk.py.

Times are CPU time of one thread, which other jobs on the machine hardly touch. The ways take turns; the median of the
rounds is kept.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm import lmm as models
from silmm.align import trainer
from silmm.align.objectives import Preferences, TokenReference, reference_logps
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.records import atomic_file
from silmm.settings import Align
from silmm.shapeworld import exam
from silmm.shapeworld.language import units, write_question

PROMPTS, SAMPLES, QUESTIONS, ROUNDS = 64, 8, 8, 5
COLUMNS = ("op", "impl", "device", "shape", "median_ms", "items_per_s", "unit", "ratio_to_plain", "arithmetic")
Way = Callable[[], object]
Clock = Callable[[], float]


class Task(NamedTuple):
    """Ways to do the same, the plain one last."""

    op: str
    shape: str
    ways: dict[str, Way]
    items: int
    unit: str
    arithmetic: str = ""  # the ratio that multiply-adds alone would give


def drawing(lmm: DiscreteLMM) -> dict[str, Way]:
    """Draw the same prompts both ways."""
    prompts = [t.prompt for t in exam.prompts(PROMPTS)]
    keys = [[("bench", i, k) for k in range(SAMPLES)] for i in range(PROMPTS)]
    plain = LlamaForCausalLM(lmm.model.config).eval()
    plain.load_state_dict({k: v for k, v in lmm.model.state_dict().items() if k.split(".")[0] in ("model", "lm_head")})
    ids = torch.from_numpy(layout.draw_prefix(lmm.vocab, prompts)).repeat_interleave(SAMPLES, 0)
    seen = (ids != lmm.vocab.pad).long()

    def generate() -> object:
        with torch.no_grad():
            return plain.generate(
                input_ids=ids, attention_mask=seen, do_sample=True, top_p=0.95, top_k=0, max_new_tokens=lmm.length,
                min_new_tokens=lmm.length, pad_token_id=lmm.vocab.pad,
            )  # fmt: skip

    return {"silmm": lambda: lmm.draw(prompts, keys, Sampling(top_p=0.95)), "transformers generate": generate}


def answering(lmm: DiscreteLMM) -> dict[str, Way]:
    """Answer eight questions about each of 128 pictures both ways."""
    tests = exam.prompts(128)
    tokens = np.random.default_rng(0).integers(0, lmm.vocab.n_visual, (128, lmm.length))
    pool = [write_question(u) for t in tests for u in units(t.spec)]
    asked = [[pool[(i * QUESTIONS + k) % len(pool)] for k in range(QUESTIONS)] for i in range(128)]

    def one_by_one() -> object:
        return [lmm.answer(tokens, [[row[k]] for row in asked]) for k in range(QUESTIONS)]

    return {"silmm": lambda: lmm.answer(tokens, asked), "one forward a question": one_by_one}


def training(lmm: DiscreteLMM) -> dict[str, Way]:
    """One DPO step of 64 pairs, with the reference's log-probs cached or computed in the step."""
    prompts = [t.prompt for t in exam.prompts(64)]
    tokens = np.random.default_rng(1).integers(0, lmm.vocab.n_visual, (2, 64, lmm.length))
    data = Preferences(prompts, tokens[0], tokens[1], [])
    settings = Align(lr=0.0, text_weight=0.0)
    optimizer = trainer.new_optimizer(lmm, settings)
    cached = reference_logps(lmm, data)

    def step(reference: TokenReference) -> object:
        return trainer.train_step(lmm, optimizer, data, reference, settings, 0, ("bench",))

    return {"silmm": lambda: step(cached), "reference in every step": lambda: step(reference_logps(lmm, data))}


def painting(lmm: ContinuousLMM) -> dict[str, Way]:
    """Decode the features of 512 pictures, each with noise of its own."""
    feats = np.random.default_rng(0).standard_normal((512, len(lmm.queries), lmm.model.config.hidden_size), np.float32)
    return {"silmm": lambda: lmm.paint(feats, [("bench", i) for i in range(512)])}


def measure(ways: dict[str, Way], clock: Clock = time.process_time, rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each way, taking turns after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(rounds + 1):
        for name, way in ways.items():
            start = clock()
            way()
            if round_:
                times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def rows_of(
    task: Task, device: str = "cpu, 1 thread", clock: Clock = time.process_time, rounds: int = ROUNDS
) -> list[tuple[str, ...]]:
    """Measure a task and print its rows."""
    times = measure(task.ways, clock, rounds)
    plain = list(times.values())[-1]
    rows = []
    for number, (impl, seconds) in enumerate(times.items()):
        rate = f"{task.items / seconds:.0f}" if task.items >= 100 * seconds else f"{task.items / seconds:.3g}"
        ratio = f"{plain / seconds:.2f}" if len(times) > 1 else ""
        expected = "" if number else task.arithmetic
        row = (task.op, impl, device, task.shape, f"{1e3 * seconds:.1f}", rate, task.unit, ratio, expected)
        rows.append(row)
        print("  ".join(row), flush=True)
    return rows


def tasks(lmm: DiscreteLMM, continuous: ContinuousLMM) -> Iterator[Task]:
    """What is measured, made one after the other."""
    tokens = 64 * 2 * (layout.DRAW_PREFIX + lmm.length)
    yield Task("draw", f"{PROMPTS} prompts x {SAMPLES}", drawing(lmm), PROMPTS * SAMPLES, "images")
    yield Task("answer", f"128 images x {QUESTIONS}", answering(lmm), 128 * QUESTIONS, "answers")
    yield Task("train", "64 pairs", training(lmm), tokens, "tokens")
    yield Task("paint", "512 images", painting(continuous), 512, "images")


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, required=True, help="checkpoint folder of a discrete ShapeWorld LMM")
    parser.add_argument("--continuous", type=Path, required=True, help="checkpoint folder of a continuous one")
    parser.add_argument("--out", type=Path, default=Path("bench/results/stages.csv"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    lmm, continuous = models.load(args.ckpt), models.load(args.continuous)
    assert isinstance(lmm, DiscreteLMM) and isinstance(continuous, ContinuousLMM)
    rows = [row for task in tasks(lmm, continuous) for row in rows_of(task)]
    write(args.out, rows)


def write(path: Path, rows: list[tuple[str, ...]]) -> None:
    """Write the rows as CSV."""
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
