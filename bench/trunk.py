"""DivDrop's shared trunk against N full forwards of every prompt with the same masks.

    python -m bench.trunk --continuous checkpoints/continuous_seed0

The full forwards are the model's own, with masks hooked in before (or after) its down projections; theirs are made
before the clock starts, the shared trunk makes its own each time. `arithmetic` is the ratio of what both ways multiply
(see `multiply_adds`); masks, norms and copies are not in it. Rows are those of the shipped continuous LMM, and of a
wide random model, whose matrix products keep a core busy.

Times are CPU time of one thread; the ways take turns; the median of the rounds is kept.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch

if not __package__:  # as `python bench/trunk.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.stages import COLUMNS, Task, Way, rows_of
from bench.timing import keep_freed_memory
from silmm import lmm as models
from silmm.kernels.divdrop import ONE, drop_mask, mask_key
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld import layout
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.lmm.shapeworld.dream import DreamQueries, diverse_dreams, dream
from silmm.lmm.shapeworld.model import ShapeWorldLlama, new_model
from silmm.lmm.shapeworld.vocab import Vocab
from silmm.records import atomic_file
from silmm.shapeworld import exam

SAMPLES = 10
RATE = 0.4
WIDE = {"width": 512, "layers": 32, "heads": 8}
WIDE_PROMPTS, WIDE_QUERIES, WIDE_MASKED = 8, 32, 4


class Dreamer(NamedTuple):
    """A model that dreams, and the prefixes of prompts that it dreams of."""

    model: ShapeWorldLlama
    queries: DreamQueries
    ids_PT: torch.Tensor
    pad: int


def dreamer(model: ShapeWorldLlama, queries: DreamQueries, vocab: Vocab, prompts: int) -> Dreamer:
    """With the first prompts of the exam."""
    ids = torch.from_numpy(layout.draw_prefix(vocab, [t.prompt for t in exam.prompts(prompts)]))
    return Dreamer(model.eval(), queries, ids, vocab.pad)


def wide_dreamer(vocab: Vocab) -> Dreamer:
    """A random model with as many layers as LLaMA-7B, and as wide as one core multiplies well."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = new_model(vocab, **WIDE)
        return dreamer(model, DreamQueries(WIDE_QUERIES, WIDE["width"]), vocab, WIDE_PROMPTS)


def ways(of: Dreamer, drop: Sampling, samples: int) -> dict[str, Way]:
    """Features of the same samples both ways; they are compared first."""
    model, queries, ids, pad = of
    keys = torch.tensor([mask_key("bench", i) for i in range(len(ids))])
    numbers = torch.arange(samples)
    first = 0 if drop.positions == "all" else ids.shape[1]  # the first place with masks
    places = (torch.arange(first, ids.shape[1] + len(queries)) - (ids == pad).sum(1, keepdim=True)).clamp(min=0)
    scale = ONE / (ONE - round(drop.rate * ONE))

    def factors(linear: torch.nn.Linear, number: int) -> torch.Tensor:
        width = linear.in_features if drop.site == "hidden" else linear.out_features
        kept_PNTF = drop_mask(keys, numbers, places, width, number, drop.site, drop.rate)
        return kept_PNTF.flatten(0, 1) * scale

    def mask(x_BTF: torch.Tensor, factors_BTF: torch.Tensor) -> None:  # what a hook returns would stand in for x
        x_BTF[:, first:] *= factors_BTF

    def hooked(linear: torch.nn.Linear, factors_BTF: torch.Tensor) -> Callable[[], None]:
        if drop.site == "hidden":
            return linear.register_forward_pre_hook(lambda module, given: mask(given[0], factors_BTF)).remove
        return linear.register_forward_hook(lambda module, given, result: mask(result, factors_BTF)).remove

    masked = [(layer.mlp.down_proj, n) for n, layer in list(enumerate(model.model.layers))[-drop.layers :]]
    made = [(linear, factors(linear, number)) for linear, number in masked]

    def full_forwards() -> torch.Tensor:
        with torch.no_grad(), ExitStack() as hooks:
            for linear, factors_BTF in made:
                hooks.callback(hooked(linear, factors_BTF))
            return dream(model, queries, ids.repeat_interleave(samples, 0), pad)

    def shared_trunk() -> torch.Tensor:
        names = {"keys_P": keys, "samples_PN": numbers.expand(len(ids), -1)}
        return diverse_dreams(model, queries, ids, pad, **names, drop=drop)

    torch.testing.assert_close(shared_trunk().flatten(0, 1), full_forwards(), atol=1e-4, rtol=1e-4)
    return {"silmm": shared_trunk, "N full forwards": full_forwards}


class MultiplyAdds(NamedTuple):
    """Of matrix products, attention's included."""

    shared: int
    full: int


def multiply_adds(of: Dreamer, drop: Sampling, samples: int) -> MultiplyAdds:
    """What the two ways multiply and add.

    A layer costs a token 4 D^2 in the projections of attention, 2 S D over the S places whose scores are computed (all
    of the sequence: what a mask forbids is computed too), 2 D F in gate and up, D F in down. Masks fan out between up
    and down (`hidden`) or behind down (`output`) of the first layer that has them: all before it is paid once, all
    after it N times. Where only the queries are masked the prompt's part is paid once throughout; its keys and values
    are those of all samples. Of the prompt's part of the last layer only queries, keys and values are made: nothing
    looks at the rest.
    """
    config, (prompts, prompt), queries = of.model.config, of.ids_PT.shape, len(of.queries)
    width, hidden, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers

    def before(tokens: int, places: int) -> int:
        """Of a layer, to where masks of site `hidden` apply."""
        return tokens * (4 * width**2 + 2 * places * width + 2 * width * hidden)

    def shared(tokens: int, places: int, first_masked: int, whole_layers: int) -> int:
        total, rows = 0, 1  # rows: once, or once a sample
        for number in range(whole_layers):
            total += rows * before(tokens, places)
            rows = samples if number >= first_masked and drop.site == "hidden" else rows
            total += rows * tokens * width * hidden
            rows = samples if number >= first_masked else rows
        return total + (layers - whole_layers) * rows * tokens * 3 * width**2

    of_queries = shared(queries, prompt + queries, layers - drop.layers, layers)
    of_prompt = shared(prompt, prompt, layers - drop.layers if drop.positions == "all" else layers, layers - 1)
    together = prompt + queries
    full = samples * layers * (before(together, together) + together * width * hidden)
    return MultiplyAdds(prompts * (of_prompt + of_queries), prompts * full)


def task(of: Dreamer, drop: Sampling, name: str) -> Task:
    """One comparison."""
    counted = multiply_adds(of, drop, SAMPLES)
    layers, prompts = of.model.config.num_hidden_layers, len(of.ids_PT)
    shape = f"{name}: {prompts} prompts x {SAMPLES}; last {drop.layers} of {layers} layers; {drop.positions}"
    expected = f"{counted.full / counted.shared:.2f}"
    return Task("divdrop", shape, ways(of, drop, SAMPLES), prompts * SAMPLES, "features", expected)


def tasks(continuous: ContinuousLMM) -> Iterator[Task]:
    """The shipped model with masks in 1, 2 and all 4 layers, and the wide one with masks in the last 4 of 32."""
    small = dreamer(continuous.model, continuous.queries, continuous.vocab, 64)
    wide = wide_dreamer(continuous.vocab)
    for positions in ("queries", "all"):
        for layers in (1, 2, 4):
            yield task(small, Sampling(rate=RATE, layers=layers, positions=positions), "width 96")
    for positions in ("queries", "all"):
        drop = Sampling(rate=RATE, layers=WIDE_MASKED, positions=positions)
        yield task(wide, drop, f"width {WIDE['width']}, {WIDE_QUERIES} queries")


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--continuous", type=Path, required=True, help="checkpoint folder of a continuous LMM")
    parser.add_argument("--out", type=Path, default=Path("bench/results/trunk.csv"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    continuous = models.load(args.continuous)
    assert isinstance(continuous, ContinuousLMM)
    rows = [row for one in tasks(continuous) for row in rows_of(one)]
    with atomic_file(args.out) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
