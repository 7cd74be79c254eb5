"""The most memory that the stages of pretrained LMMs take, beyond what the process had before the stage.

    python -m bench.lmm_memory

load     `silmm.lmm.load` of an adopted checkpoint, and reading every weight once, as the first use does
draw     one pass of drawing, with guidance: each sample takes two of the rows
look     as many pictures as rows, with eight questions each
align    one AdamW step of half as many pairs as rows: token log-probs of both sides in one pass, their gradients

Beside each stands what `silmm plan` forecasts (`silmm.forecast`), and its ratio to what was measured.

Weights are random, in float32; each measure has a process of its own. Loading is measured by the kernel's count of
resident memory, since what is mapped from a file is no allocation; the other stages by torch's own count of what its
tensors took (`bench.memory.peak_cpu`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.lmm_weights import SIZES, Size

RANK = 16  # of LoRA: as `lmm_weights.adopted` has it
DRAWN = {"janus": (24, 24), "emu3": (140, 48)}  # tokens before a picture: of the longer branch, and of a prompt
LOOKED, QUESTION = 64, 16  # tokens around a picture, and of a question
STAGES = ("load", "draw", "look", "align")
COLUMNS = (
    "family",
    "stage",
    "width",
    "layers",
    "side",
    "codes",
    "vocab",
    "channels",
    "rows",
    "tokens",
    "peak_bytes",
    "forecast_bytes",
    "ratio",
)
QUESTIONS = [f"Is there a {word} in the picture?" for word in ("cat", "dog", "cup", "man", "key", "hat", "car", "box")]
TABLE = {  # rows and sizes; Emu3's tokenizer is quicker to build with fewer codes
    "janus": ((8, Size(512, 4, 384, 16384, 32768, 32)), (4, Size(1024, 2, 384, 16384, 32768, 32))),
    "emu3": ((16, Size(512, 4, 192, 1024, 32768, 32)), (8, Size(1024, 2, 192, 1024, 32768, 32))),
}


def measure(family: str, stage: str, *, rows: int, **sizes: int) -> int:
    """Peak bytes of a stage, in a fresh process.

    Args:
        rows: sequences a pass; pictures, in looking; twice the pairs of a step, in aligning.
        sizes: fields of `Size` that are not those of `SIZES` for a CPU.
    """
    size = SIZES[family][0]._replace(**sizes)
    with tempfile.TemporaryDirectory() as folder:
        return _peaks(family, [stage], size, rows, folder)[0]


def _peaks(family: str, stages: Sequence[str], size: Size, rows: int, folder: str) -> list[int]:
    """Peak bytes of stages, each in a process of its own; the weights are built in another before."""
    peaks = []
    for job in ("build", *stages):
        words = json.dumps([family, job, list(size), rows, folder])
        command = [sys.executable, "-m", "bench.lmm_memory", "--job", words]
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
        if done.returncode:
            raise RuntimeError(f"measuring {family} {job}: {done.stderr.strip()}")
        peaks.append(int(done.stdout.split()[-1]))
    return peaks[1:]


def _environment() -> dict[str, str]:
    """This process's, without what may keep freed memory; on a CPU even where there is a GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return kept | {"CUDA_VISIBLE_DEVICES": ""}


def tokens_of(family: str, side: int) -> int:
    """Visual tokens of a picture."""
    return (side // {"janus": 16, "emu3": 8}[family]) ** 2


def main() -> None:
    """Measure and write the table; or, in a process of its own, one stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench/results/lmm_memory.csv"))
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        family, job, size, rows, folder = json.loads(args.job)
        print(_run(family, job, Size(*size), rows, Path(folder)))
        return
    found = []
    for family, (rows, size) in ((family, given) for family, sizes in TABLE.items() for given in sizes):
        with tempfile.TemporaryDirectory() as folder:
            peaks = _peaks(family, STAGES, size, rows, folder)
            expected = forecast(family, size, rows, Path(folder))
        for stage, peak in zip(STAGES, peaks, strict=True):
            ratio = f"{expected[stage] / peak:.3f}"
            found.append((family, stage, *size, rows, tokens_of(family, size.side), peak, expected[stage], ratio))
            print(*found[-1], flush=True)
    with args.out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(found)


def forecast(family: str, size: Size, rows: int, folder: Path) -> dict[str, int]:
    """What `silmm plan` forecasts for each stage, of the weights that were built in the folder."""
    from importlib import import_module

    from bench.lmm_weights import weights_of
    from silmm.forecast import decoder, memory
    from silmm.forecast.lengths import Lengths
    from silmm.settings import Adopt, Align, Images

    weights, options = weights_of(family, folder, size.side)
    known = import_module(f"silmm.lmm.{family}.shape")
    shape = known.shape(weights, options, "float32", rows)
    held = {path: known.holds(role, path, "float32") for role, path in weights.items()}
    adopt, texts = Adopt(rows=rows, rank=RANK), Lengths(0, 0, 0, DRAWN[family][1], LOOKED, QUESTION, len(QUESTIONS))
    lora = decoder.lora_weights(shape.painter, RANK) * decoder.FLOAT
    loaded = sum(part.memory for one in held.values() for part in one.parts) + lora
    phases = {
        "draw": memory.drawing(shape, adopt, Images(guidance=3.0, n=rows // 2), DRAWN[family][0])[:2],
        "look": memory.looking(shape, adopt, texts),
        "align": memory.learning(shape, adopt, Align(text_weight=0.0, rows=rows // 2), texts),
    }
    # In a first step AdamW has no means yet: of LoRA there are gradients alone.
    peaks = {stage: max(p.total - p.optimiser * 2 // 3 for p in found) for stage, found in phases.items()}
    return {"load": loaded, **peaks}


def _run(family: str, job: str, size: Size, rows: int, folder: Path) -> int:
    """Build the folder, or measure a stage on what is in it."""
    import torch

    from bench import lmm_weights
    from bench.memory import peak_cpu
    from silmm import lmm as models

    torch.set_num_threads(1)
    if job == "build":
        lmm_weights.build(family, size, folder / "weights")
        lmm_weights.adopted(family, folder, rows=rows, side=size.side)
        return 0
    if job == "load":
        _warm(family, folder / "tiny")
        return _resident(lambda: _read_all(models.load(folder / "ckpt")))
    return peak_cpu(way(models.load(folder / "ckpt"), job, size, rows), ())[1]


def way(lmm: Any, stage: str, size: Size, rows: int) -> Callable[[], object]:
    """The stage's work, prepared."""
    import numpy as np

    from silmm.align import trainer
    from silmm.align.objectives import Preferences, reference_logps
    from silmm.lmm.interface import Sampling
    from silmm.settings import Align

    lmm.parameters()  # some LMMs read their weights when they need them first
    rng, prompts = np.random.default_rng(0), ("a red apple to the left of a wooden clock", "two dogs")
    if stage == "draw":
        keys = [[("memory", k) for k in range(rows // 2)]]
        return lambda: lmm.draw(prompts[:1], keys, Sampling(guidance=3.0))
    if stage == "look":
        images = list(rng.integers(0, 256, (rows, size.side, size.side, 3)).astype(np.uint8))
        return lambda: lmm.look(images, [QUESTIONS] * rows)
    chosen, rejected = rng.integers(0, size.codes, (2, rows // 2, lmm.length))
    data = Preferences([prompts[i % 2] for i in range(rows // 2)], chosen, rejected, [])
    settings = Align(text_weight=0.0, batch=rows // 2, rows=rows // 2)
    optimizer = trainer.new_optimizer(lmm, settings)
    reference = reference_logps(lmm, data, settings.rows)
    return lambda: trainer.train_step(lmm, optimizer, data, reference, settings, 0, ("memory",))


def _warm(family: str, folder: Path) -> None:
    """Load a tiny model, so that what loading imports is there."""
    from importlib import import_module

    from bench import lmm_weights
    from silmm import lmm as models

    import_module(f"silmm.lmm.{family}.tiny").build(folder / "weights")
    models.load(lmm_weights.adopted(family, folder, rows=1, side=32))


def _resident(way: Callable[[], object]) -> int:
    """Bytes of resident memory at the peak of a call beyond those before it (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now
    before = _status("VmRSS")
    kept = way()
    peak = _status("VmHWM") - before
    del kept
    return peak


def _read_all(lmm: Any) -> Any:
    """The LMM, its weights no longer only mapped."""
    for weight in lmm.adapted.parameters():
        weight.detach().sum()
    return lmm


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
