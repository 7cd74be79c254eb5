"""The pictures of a public benchmark, drawn by an LMM: as many as it wants of each prompt, with its seeds and names.

Each block of prompts is one ZIP archive of PNGs. Blocks that are done wait in `state`, so that an interrupted run goes
on where it was; the folder of pictures appears when all are there, with `drawn.json` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silmm import lmm as models
from silmm.align.state import fingerprint
from silmm.atomic import atomic_dir, atomic_file
from silmm.benchmarks import data_files, registry
from silmm.benchmarks.choice import read_whole
from silmm.benchmarks.interface import Benchmark, Item
from silmm.benchmarks.pictures import DRAWN, find
from silmm.errors import InputError
from silmm.lmm.interface import LMM, Sampling
from silmm.records import write_json
from silmm.settings import Images
from silmm.sources import source_hash
from silmm.stages import promises, worlds
from silmm.stages.benchmark_blocks import Task, blocks_of, is_whole, place, tasks_of, write
from silmm.stages.journal import close
from silmm.stages.picture_file import archive_writer
from silmm.stages.pictures import pixels_of
from silmm.stages.runtime import prepare, progress
from silmm.stages.sampler import READ, sampling_of
from silmm.typed_json import loads

EXTRAS = "extras.zip"  # what the official evaluator wants beside the pictures


def run(
    settings: Images,
    *,
    name: str,
    ckpt: Path,
    data: Path,
    shard: tuple[int, int],
    out: Path,
    only: tuple[str, ...] = (),
    first: int | None = None,
    state: Path | None = None,
    download: bool = False,
    threads: int = 1,
) -> None:
    """Draw a shard, whole blocks of prompts: `block-<number>.zip` each, `extras.zip` in the first shard where there are
    any, and `drawn.json` beside them, the same in every shard that has pictures. What `out` has already, of the same
    checkpoint and settings, is not drawn again.

    Picture k of an item is keyed by (its official seed, "benchmark", name, item's id, k). A prompt is taken as it
    stands. only: categories; first: prompts of each category, for trying out.

    Raises InputError for what the LMM cannot draw, and RecordError for official files that are not whole.
    """
    prepare(threads)
    bench = registry.get(name)
    data_files.require(bench, data, download)
    tasks = tasks_of(bench, read_whole(bench, data), only, first)
    policy = models.load(ckpt)
    sampling = sampling_of(settings)
    sampling = sampling._replace(noises=1, layers=sampling.layers if sampling.rate else 0)
    blocks = blocks_of(tasks, worlds.of(policy).block)
    mine = range(shard[0], len(blocks), shard[1])
    # Not of this module: it imports every benchmark's arithmetic, which changes no picture.
    sources = source_hash("stages.images") + source_hash("stages.benchmark_blocks")
    made_of = {"name": name, **sampling._asdict(), "sources": sources}
    seen = [[item.id, item.prompt, item.seeds, refs] for item, refs in tasks]
    mark = fingerprint(made_of, [ckpt], seen)
    own_state = state and state / f"shard-{shard[0]}-of-{shard[1]}"
    journal = own_state and own_state / mark
    kept = [folder for folder in (journal, out if _mark_of(out) == mark else None) if folder]
    with atomic_dir(out) as folder:
        for number in progress(mine, "benchmark images", total=len(mine)):
            block, target = blocks[number], folder / f"block-{number:05d}.zip"
            file = next((old / target.name for old in kept if is_whole(old / target.name, block)), None)
            if file is None:
                pictures = _draw(policy, bench, block, sampling, ckpt)
                file = (journal or folder) / target.name
                with atomic_file(file) as temporary:
                    write(temporary, block, pictures)
            if file != target:
                place(file, target)
        if not shard[0]:
            _write_extras(bench, [item for item, _ in tasks], folder)
        if mine:
            note = _note(policy, bench, tasks, sampling, ckpt)
            write_json(folder / DRAWN, {**note, "resolution": _resolution(folder, tasks), "made of": mark})
    close(own_state)


def _draw(policy: LMM, bench: Benchmark, block: Sequence[Task], sampling: Sampling, ckpt: Path) -> np.ndarray:
    """Pictures uint8 `[P * N, H, W, 3]` of a block."""
    items = [item for item, _ in block]
    keys = [[(seed, "benchmark", bench.name, item.id, k) for k, seed in enumerate(item.seeds)] for item in items]
    try:
        found = policy.draw([item.prompt for item in items], keys, sampling)
    except ValueError as error:  # a prompt, or settings, that do not fit this LMM
        ids = items[0].id if len(items) == 1 else f"{items[0].id} .. {items[-1].id}"
        raise InputError(f"{ckpt}: {bench.name}, items {ids}: {error}") from None
    promises.pictures(found, len(items), len(keys[0]), sampling, policy, ckpt)
    return pixels_of(policy, found)


def _mark_of(folder: Path) -> str | None:
    """What the pictures in a folder were made of, if it has any."""
    try:
        mark: str = json.loads((folder / DRAWN).read_text(encoding="utf-8"))["made of"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return mark


def _write_extras(bench: Benchmark, items: Sequence[Item], folder: Path) -> None:
    if extras := bench.layout.extras(items):
        with archive_writer(folder / EXTRAS) as add:
            for name, text in extras.items():
                add(name, text.encode())


def _note(policy: LMM, bench: Benchmark, tasks: Sequence[Task], sampling: Sampling, ckpt: Path) -> dict[str, Any]:
    """How the pictures were drawn, for the judging run to repeat beside its numbers."""
    config = loads((ckpt / "config.json").read_text(encoding="utf-8"))
    options = config.get("options", {})  # a family's own: of its pictures' side, or of its diffusion decoder
    discrete = policy.images == "discrete"
    return {
        "benchmark": bench.name,
        "lmm": config["silmm_family"],
        "checkpoint": fingerprint({}, [ckpt]),
        "sampling": {name: getattr(sampling, name) for name in READ[policy.images]},
        "guidance": options.get("guidance", sampling.guidance if discrete else "none"),
        "options": options,
        "seeds": sorted({seed for item, _ in tasks for seed in item.seeds}),
        "prompt rewriting": "none",
    }


def _resolution(folder: Path, tasks: Sequence[Task]) -> str:
    """Width x height of one picture."""
    refs = {ref.name: ref for _, refs in tasks for ref in refs}
    files = find(sorted(folder.glob("block-*.zip"))[:1])
    height, width, _ = files.pixels(refs[next(iter(files.holder))]).shape
    return f"{width}x{height}"
