"""A benchmark of six prompts, and a judge that answers by a picture's brightness: no model, every number by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from silmm.benchmarks.interface import Benchmark, DataFile, Finding, Item, Layout, Ref, Row, Tally
from silmm.benchmarks.judges.interface import Answer, Card, Judges, Query
from silmm.benchmarks.pictures import PictureFiles
from silmm.errors import InputError

PICTURES = 2


def read(folder: Path) -> list[Item]:
    """`<id> <category> <prompt>` a line."""
    lines = (folder / "toy.txt").read_text().splitlines()
    return [Item(*line.split(" ", 2)[::2], line.split(" ")[1], tuple(range(PICTURES))) for line in lines]


def names(items: Sequence[Item]) -> list[list[Ref]]:
    return [[Ref(f"{item.category}/{item.id}_{k}.png") for k in range(PICTURES)] for item in items]


def locate(files: PictureFiles, items: Sequence[Item]) -> list[list[Ref]]:
    refs = names(items)
    if missing := [ref.name for own in refs for ref in own if ref.name not in files.holder]:
        raise InputError(f"{files.where}: missing: {', '.join(missing)}: draw them")
    return refs


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Item]) -> list[Finding]:
    assert judges.vqa is not None
    answers = judges.vqa.answer(pictures, [[Query(f"{item.prompt}?")] for item in items])
    return [{"p": own[0].probs[0]} for own in answers]


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """Officially the brightness, corrected whether it is bright."""
    return [
        Row(item.id, k, "q", item.category, f"{item.prompt}?", "yes", "yes" if f["p"] > 0.5 else "no",
            f["p"], f["p"], float(f["p"] > 0.5))
        for item, own in zip(items, findings, strict=True)
        for k, f in enumerate(own)
    ]  # fmt: skip


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    return [
        Tally(variant, item.category, item.id, sum(getattr(row, variant) for row in rows if row.item_id == item.id), 2)
        for variant in ("official", "corrected")
        for item in items
    ]


TOY = Benchmark(
    name="toy",
    title="Toy",
    commit="someone/toy@1",
    files=(DataFile("toy.txt", "http://127.0.0.1:9/toy.txt", None),),
    judges={"vqa": "someone/bright", "clip": "clip-of-old"},
    layout=Layout(locate, names),
    read=read,
    roles_of=lambda category: ("vqa",),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={"all": ("dark", "light")},
)


class Bright:
    """Answers yes with the probability of the mean brightness; counts what it looked at."""

    def __init__(self, source: str, stop_after: float = float("inf")) -> None:
        self.card = Card("vqa", "bright", source, "sha256:0", "any")
        self.looked, self.stop_after = 0, stop_after

    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        self.looked += len(pictures)
        if self.looked > self.stop_after:
            raise KeyboardInterrupt
        yes = [float(picture.mean() / 255) for picture in pictures]
        return [[Answer((p, 1 - p), "yes") for _ in own] for p, own in zip(yes, asked, strict=True)]


def write_data(folder: Path) -> Path:
    """The official file: three dark prompts, three light ones."""
    folder.mkdir()
    kinds = ["dark", "light"] * 3
    (folder / "toy.txt").write_text("".join(f"t{i} {kind} prompt {i}\n" for i, kind in enumerate(kinds)))
    return folder


def draw(folder: Path, brightness: Callable[[int, int], int] = lambda i, k: 20 * i + 100 * k) -> Path:
    """The pictures of all prompts under their official names; brightness of picture k of prompt i, 0 to 255."""
    items = read(write_data(folder.with_name(folder.name + "_data")))
    for i, own in enumerate(names(items)):
        for k, ref in enumerate(own):
            file = folder / ref.name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6), (brightness(i, k),) * 3).save(file)
    return folder
