"""What the judges see in the pictures, block by block; an interrupted run goes on with the blocks that it has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from silmm.atomic import atomic_file
from silmm.benchmarks.interface import Benchmark, Finding, Item, Ref
from silmm.benchmarks.judges.numbers import NO_NUMBERS
from silmm.benchmarks.pictures import PictureFiles
from silmm.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from silmm.benchmarks.judges.interface import Judges

BLOCK = 32  # pictures that the judges are given at a time, and that an interruption loses
BYTES = 2**28  # of pixels in a block: it ends with the file that reaches them (32 pictures of 1672 x 1672)


class Seen(NamedTuple):
    """Of all pictures."""

    findings: list[list[Finding]]  # [item][picture]
    sizes: dict[str, int]  # pictures of each size, "width x height"
    digests: list[list[str]]  # of the pictures' files and tiles, [item][picture]: equal ones are the same picture


class _Block(NamedTuple):
    items: list[Item]
    pictures: list[np.ndarray]
    digests: list[str]


def look_at(
    benchmark: Benchmark,
    judges: Judges,
    items: Sequence[Item],
    files: PictureFiles,
    refs: Sequence[Sequence[Ref]],
    journal: Path,
) -> Seen:
    """The findings on every picture. While judges look at a block, the next one is read and decoded.

    journal: a folder of this benchmark with these items and judges alone. A kept block counts only for the pictures
    that it was made of. Raises InputError for a picture that cannot be read, and a judge that gives no numbers.
    """
    flat = [(item, ref) for item, own in zip(items, refs, strict=True) for ref in own]
    findings: list[Finding] = []
    digests: list[str] = []
    sizes: dict[str, int] = {}

    def load(start: int) -> _Block:
        """Whole files, so that none is decoded for two blocks."""
        pictures: list[np.ndarray] = []
        for _, group in groupby(flat[start : start + BLOCK], key=lambda row: row[1].name):
            pictures += files.each([ref for _, ref in group])
            if sum(picture.nbytes for picture in pictures) >= BYTES:
                break
        block_items = [item for item, _ in flat[start : start + len(pictures)]]
        return _Block(block_items, pictures, [_digest(picture) for picture in pictures])

    with ThreadPoolExecutor(1) as reader, tqdm(total=len(flat), desc="look", unit="picture", mininterval=1) as bar:
        waiting = reader.submit(load, 0) if flat else None
        start = 0
        while waiting is not None:
            block = waiting.result()
            following = start + len(block.items)
            waiting = reader.submit(load, following) if following < len(flat) else None
            findings += _kept_or_new(benchmark, judges, block, journal / f"looked-{start:06d}.json")
            digests += block.digests
            for picture in block.pictures:
                size = f"{picture.shape[1]}x{picture.shape[0]}"
                sizes[size] = sizes.get(size, 0) + 1
            bar.update(len(block.items))
            start = following
    counts = [len(own) for own in refs]
    return Seen(_split(findings, counts), sizes, _split(digests, counts))


def _digest(picture_HWC: np.ndarray) -> str:
    shape = "x".join(map(str, picture_HWC.shape))
    return hashlib.blake2b(shape.encode() + picture_HWC.tobytes(), digest_size=16).hexdigest()


def _kept_or_new(benchmark: Benchmark, judges: Judges, block: _Block, file: Path) -> list[Finding]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["pictures"] == block.digests and len(kept["findings"]) == len(block.digests):
            return list(kept["findings"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # not there, or not whole: look again
    found = benchmark.look(judges, block.pictures, block.items)
    if len(found) != len(block.items):
        raise RuntimeError(f"{benchmark.name}: {len(found)} findings for {len(block.items)} pictures")
    try:
        text = json.dumps({"pictures": block.digests, "findings": found}, allow_nan=False)
    except ValueError:
        raise InputError(f"{benchmark.name}: {NO_NUMBERS} of {', '.join(benchmark.judges)}") from None
    with atomic_file(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return list(json.loads(text)["findings"])  # as it will be read: tuples are lists, keys are texts


def _split(flat: list, counts: Sequence[int]) -> list[list]:
    rest = iter(flat)
    return [[next(rest) for _ in range(count)] for count in counts]
