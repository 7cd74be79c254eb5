"""Throughput of the loop's costly parts beside the plain way to do them, in one run.

    python bench/stages.py --ckpt checkpoints/discrete_seed0 --continuous checkpoints/continuous_seed0

draw     images/s: `silmm`'s shared-prefix decoding against transformers' `generate` on N copies of each prompt
answer   answers/s: all questions of an image in one pass against one forward a question
train    tokens/s of a DPO step: cached reference log-probs against a reference forward in every step
divdrop  features/s of N samples a prompt: the shared trunk against N full forwards of every prompt with the same masks,
         hooked into the model's own modules. `arithmetic` is the ratio of their multiply-adds (see the function); the
         masks, which both ways make, and the copies around small products are not in it
paint    images/s of the flow decoder, from features

Times are CPU time of one thread, which other jobs on the machine hardly touch. The ways take turns; the median of the
rounds is kept.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers.models.llama.modeling_llama import LlamaForCausalLM

from silmm import lmm as models
from silmm.align import trainer
from silmm.align.objectives import Preferences, TokenReference, reference_logps
from silmm.kernels.divdrop import ONE, drop_mask, mask_key
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.dream import diverse_dreams, dream
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.records import atomic_file
from silmm.settings import Align
from silmm.shapeworld import exam
from silmm.shapeworld.language import units, write_question

PROMPTS, SAMPLES, QUESTIONS, ROUNDS = 64, 8, 8, 5
DREAMS = 10  # samples a prompt by DivDrop
COLUMNS = ("op", "impl", "device", "shape", "median_ms", "items_per_s", "unit", "ratio_to_plain", "arithmetic")
Way = Callable[[], object]


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


def dreaming(lmm: ContinuousLMM, drop: Sampling) -> dict[str, Way]:
    """Features of the same samples both ways."""
    ids = torch.from_numpy(layout.draw_prefix(lmm.vocab, [t.prompt for t in exam.prompts(PROMPTS)]))
    keys = torch.tensor([mask_key("bench", i) for i in range(PROMPTS)])
    samples = torch.arange(DREAMS)
    first = 0 if drop.positions == "all" else ids.shape[1]  # the first place with masks
    pads = (ids == lmm.vocab.pad).sum(1, keepdim=True)
    places = (torch.arange(first, ids.shape[1] + len(lmm.queries)) - pads).clamp(min=0)
    scale = ONE / (ONE - round(drop.rate * ONE))

    def masked(number: int) -> Callable[..., None]:
        def hook(module: torch.nn.Linear, given: tuple[torch.Tensor]) -> None:
            kept_PNTF = drop_mask(keys, samples, places, module.in_features, number, drop.site, drop.rate)
            given[0][:, first:] *= kept_PNTF.flatten(0, 1) * scale

        return hook

    def full_forwards() -> torch.Tensor:
        with torch.no_grad(), ExitStack() as hooks:
            for number, layer in list(enumerate(lmm.model.model.layers))[-drop.layers :]:
                handle = layer.mlp.down_proj.register_forward_pre_hook(masked(number))
                hooks.callback(handle.remove)
            return dream(lmm.model, lmm.queries, ids.repeat_interleave(DREAMS, 0), lmm.vocab.pad)

    def shared_trunk() -> torch.Tensor:
        names = {"keys_P": keys, "samples_PN": samples.expand(PROMPTS, -1)}
        return diverse_dreams(lmm.model, lmm.queries, ids, lmm.vocab.pad, **names, drop=drop)

    torch.testing.assert_close(shared_trunk().flatten(0, 1), full_forwards(), atol=1e-4, rtol=1e-4)
    return {"silmm": shared_trunk, "N full forwards": full_forwards}


def arithmetic(lmm: ContinuousLMM, drop: Sampling) -> float:
    """Multiply-adds of N full forwards over those of the shared trunk, matrix products only.

    A layer costs a token 4 D^2 in the projections of attention, 2 S D over the S places that it attends to, 2 D F in
    gate and up, D F in down. Masks fan out between up and down of the first layer that has them: all before it is paid
    once, that down and all layers after it N times.
    """
    config, prompt, queries = lmm.model.config, layout.DRAW_PREFIX, len(lmm.queries)
    width, hidden, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers

    def costs(tokens: int, places: int) -> tuple[int, int]:
        """Of one layer, before and after its masks."""
        return tokens * (4 * width**2 + 2 * places * width + 2 * width * hidden), tokens * width * hidden

    def shared(tokens: int, places: int, masked: int) -> int:
        before, after = costs(tokens, places)
        if not masked:
            return layers * (before + after)
        once = (layers - masked) * (before + after) + before
        return once + DREAMS * (after + (masked - 1) * (before + after))

    plain = DREAMS * layers * sum(costs(prompt + queries, prompt + queries))
    of_prompt = shared(prompt, prompt, drop.layers if drop.positions == "all" else 0)
    return plain / (of_prompt + shared(queries, prompt + queries, drop.layers))


def painting(lmm: ContinuousLMM) -> dict[str, Way]:
    """Decode the features of 512 pictures, each with noise of its own."""
    feats = np.random.default_rng(0).standard_normal((512, len(lmm.queries), lmm.model.config.hidden_size), np.float32)
    return {"silmm": lambda: lmm.paint(feats, [("bench", i) for i in range(512)])}


def measure(ways: dict[str, Way]) -> dict[str, float]:
    """Median seconds of each way, taking turns after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 1):
        for name, way in ways.items():
            start = time.process_time()
            way()
            if round_:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def tasks(lmm: DiscreteLMM, continuous: ContinuousLMM) -> Iterator[Task]:
    """What is measured, made one after the other."""
    tokens = 64 * 2 * (layout.DRAW_PREFIX + lmm.length)
    yield Task("draw", f"{PROMPTS} prompts x {SAMPLES}", drawing(lmm), PROMPTS * SAMPLES, "images")
    yield Task("answer", f"128 images x {QUESTIONS}", answering(lmm), 128 * QUESTIONS, "answers")
    yield Task("train", "64 pairs", training(lmm), tokens, "tokens")
    for positions in ("queries", "all"):
        for layers in (1, 2, 4):
            drop = Sampling(rate=0.4, layers=layers, positions=positions)
            shape = f"{PROMPTS} prompts x {DREAMS}; last {layers} of {continuous.layers} layers; {positions}"
            expected = f"{arithmetic(continuous, drop):.2f}"
            yield Task("divdrop", shape, dreaming(continuous, drop), PROMPTS * DREAMS, "features", expected)
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
    rows = []
    for task in tasks(lmm, continuous):
        times = measure(task.ways)
        plain = list(times.values())[-1]
        for number, (impl, seconds) in enumerate(times.items()):
            rate, ratio = f"{task.items / seconds:.0f}", f"{plain / seconds:.2f}" if len(times) > 1 else ""
            expected = "" if number else task.arithmetic
            row = (task.op, impl, "cpu, 1 thread", task.shape, f"{1e3 * seconds:.1f}", rate, task.unit, ratio, expected)
            rows.append(row)
            print("  ".join(str(v) for v in row))
    with atomic_file(args.out) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
