"""Judges of pictures beside transformers alone, and what is not the judge's work beside what is, in one run.

    python -m bench.judges [--data FOLDER]

answer     answers/s: 13 questions a picture, each picture encoded once, against picture and question anew each time
benchmark  pictures/s of a whole `silmm benchmark dsg_1k`, without loading, against its judge's calls alone (needs
           --data, the folder with the official files)

Random weights: narrow and shallow, but they look at as many pixels in patches of the same size as the published ones,
with as many layers for a text as for a picture (BLIP) or a few more (Qwen3-VL). So most of the work is the picture's,
as it is there. Times are CPU time of one thread. The ways take turns; the median of the rounds is kept.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from bench import stages
from bench.stages import Task, Way
from silmm.benchmarks.judges import load as loading
from silmm.benchmarks.judges import tiny
from silmm.benchmarks.judges.interface import Answer, Query

PICTURES, SIDE, ROUNDS = 2, 512, 3
FIRST = 12  # prompts of each category of the benchmark that is run
DEVICE = "cpu, 1 thread"
NOUNS = (
    "red bowl",
    "cat",
    "dog",
    "horse",
    "clock",
    "wooden table",
    "window",
    "man",
    "vase",
    "bird",
    "bus",
    "cup",
    "tree",
)
QUESTIONS = tuple(f"is there a {noun} in the picture?" for noun in NOUNS)
KINDS = {  # by model_type: sizes, and how they are called
    "blip": ("width 192, 4 + 4 layers, 901 patches", {"hidden_size": 192, "intermediate_size": 768, "patch_size": 16,
                                                      "num_hidden_layers": 4}),
    "qwen3_vl": ("width 256, 4 layers behind 2 of width 128, 1024 patches", {
        "most": 1024, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "head_dim": 64,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [12, 10, 10]},
        "vision": {"hidden_size": 128, "intermediate_size": 512, "patch_size": 16, "num_position_embeddings": 2304}}),
}  # fmt: skip


def make(kind: str, sizes: dict[str, Any], folder: Path) -> Path:
    """A judge of these sizes with random weights."""
    torch.manual_seed(0)
    tiny.BUILDERS[kind](folder, **sizes)  # type: ignore[call-arg]
    return folder


def answering(judge: Any, side: int, pictures: int, questions: Sequence[str]) -> dict[str, Way]:
    """Answer the same questions about the same pictures both ways."""
    images = list(np.random.default_rng(0).integers(0, 256, (pictures, side, side, 3)).astype(np.uint8))
    asked = [Query(question) for question in questions]

    def together() -> list[list[Answer]]:
        answers: list[list[Answer]] = judge.answer(images, [asked] * pictures)
        return answers

    def anew() -> list[list[Answer]]:
        return [[judge.answer([image], [[query]])[0][0] for query in asked] for image in images]

    return {"silmm": together, "picture and question anew": anew}


class Clocked:
    """A judge, and the seconds spent in its calls."""

    def __init__(self, judge: Any) -> None:
        self.judge, self.card, self.seconds = judge, judge.card, 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.judge, name)

        def call(*args: Any) -> Any:
            start = time.process_time()
            found = method(*args)
            self.seconds += time.process_time() - start
            return found

        return call


def benchmark(data: Path, source: Path, work: Path, first: int) -> Iterator[tuple[str, ...]]:
    """Rows of a whole run on random pictures, and of its judge's calls in the same run."""
    from silmm.benchmarks import registry
    from silmm.stages import benchmark as stage

    bench = registry.get("dsg_1k")
    everything = bench.read(data)
    items = stage.chosen(bench, everything, (), first)
    places = dict(zip((item.id for item in everything), bench.layout.names(everything), strict=True))
    noise = np.random.default_rng(0)
    for name in dict.fromkeys(ref.name for item in items for ref in places[item.id]):
        file = work / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)).save(file)
    judge = Clocked(loading.load("vqa", str(source)))
    with mock.patch.object(loading, "load", return_value=judge):
        start = time.process_time()
        stage.run(
            name="dsg_1k", data=data, images=(work / "images",), judge={"vqa": str(source)}, out=work / "out",
            first=first,
        )  # fmt: skip
        whole = time.process_time() - start
    pictures = sum(len(places[item.id]) for item in items)
    shape = f"{pictures} pictures of {SIDE} pixels, {KINDS['blip'][0]}"
    for impl, seconds in (("silmm benchmark dsg_1k", whole), ("its judge alone", judge.seconds)):
        row = ("benchmark", impl, DEVICE, shape, f"{1e3 * seconds:.1f}", f"{pictures / seconds:.3g}", "pictures",
               f"{judge.seconds / seconds:.3f}", "")  # fmt: skip
        print("  ".join(row), flush=True)
        yield row


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with DSG-1k's official files")
    parser.add_argument("--first", type=int, default=FIRST, help="prompts of each category of DSG-1k")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--side", type=int, default=SIDE, help="pixels of a picture")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("bench/results/judges.csv"))
    args = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else silmm would take the GPU
    torch.set_num_threads(1)
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as name:
        for kind, (model, sizes) in KINDS.items():
            judge = loading.load("vqa", str(make(kind, sizes, Path(name) / kind)))
            shape = f"{args.pictures} pictures of {args.side} pixels x {len(QUESTIONS)}, {model}"
            ways = answering(judge, args.side, args.pictures, QUESTIONS)
            task = Task(f"answer, {judge.card.model}", shape, ways, args.pictures * len(QUESTIONS), "answers")
            rows += stages.rows_of(task, DEVICE, rounds=args.rounds)
        if args.data:
            rows += benchmark(args.data, Path(name) / "blip", Path(name), args.first)
    stages.write(args.out, rows)


if __name__ == "__main__":
    main()
