"""Pictures of a benchmark, drawn here: official numbers, seeds and names; whole blocks; a killed run ends in the same
bytes."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from silmm import lmm as models
from silmm.benchmarks import registry
from silmm.benchmarks.interface import Benchmark, Item, Layout, Ref
from silmm.benchmarks.pictures import find
from silmm.errors import InputError
from silmm.lmm.interface import Drawn, Sampling
from silmm.rng import generator
from silmm.settings import Images
from silmm.stages import benchmark_images

pytestmark = pytest.mark.xdist_group("benchmark_images")
H, W = 4, 6


def items_of(n: int, seeds: tuple[int, ...]) -> list[Item]:
    """Prompts of two categories, in turn."""
    return [Item(f"i{i}", f"prompt {i}", ("color", "shape")[i % 2], seeds) for i in range(n)]


def running(items: Sequence[Item]) -> list[list[Ref]]:
    """`<prompt>_<running number>.png`, as T2I-CompBench has it."""
    numbers = iter(range(10**6))
    return [[Ref(f"samples/{item.prompt}_{next(numbers):06d}.png") for _ in item.seeds] for item in items]


def grids(items: Sequence[Item]) -> list[list[Ref]]:
    """Four tiles in one file, as DPG-Bench has it."""
    return [[Ref(f"{item.id}.png", (k, 2, 2)) for k in range(4)] for item in items]


def fake(names: Callable[..., list[list[Ref]]], items: Sequence[Item], extras: dict[str, str] | None = None) -> Any:
    """A benchmark that can be drawn, and nothing else."""
    layout = Layout(locate=lambda files, items: [], names=names, extras=lambda items: extras or {})
    nothing: Any = None
    return Benchmark("fake", "Fake", "", (), {}, layout, lambda folder: list(items), *[nothing] * 4, groups={})


class Painter:
    """Draws noise that is a function of prompt and key; ends its process in the middle of a block if it is told to."""

    world, images = "open", "discrete"

    def __init__(self, kill_at: int = -1) -> None:
        self.calls, self.kill_at, self.asked = 0, kill_at, []

    def draw(self, prompts: Sequence[str], keys: Sequence[Sequence[tuple]], sampling: Sampling) -> Drawn:
        if self.calls == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        self.asked.append((list(prompts), [list(row) for row in keys], sampling))
        pictures = [
            [generator("painter", prompt, *key).integers(0, 256, (H, W, 3), dtype=np.uint8) for key in row]
            for prompt, row in zip(prompts, keys, strict=True)
        ]
        return Drawn(pictures_PNHWC=np.array(pictures))


Draw = Callable[..., Path]


@pytest.fixture(autouse=True)
def torch_settings():  # type: ignore[no-untyped-def]
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draw a benchmark with a painter, and give the folder."""
    ckpt = tmp_path / "ckpt"
    ckpt.mkdir()
    (ckpt / "config.json").write_text('{"silmm_family": "janus", "options": {}}')

    def run(bench: Benchmark, painter: Painter, out: str = "out", settings: Images | None = None, **words: Any) -> Path:
        monkeypatch.setattr(registry, "get", lambda name: bench)
        monkeypatch.setattr(models, "load", lambda folder: painter)
        monkeypatch.setattr(models, "name_of", lambda _: "discrete")
        words = {"shard": (0, 1), "ckpt": ckpt, "data": tmp_path, **words}
        benchmark_images.run(settings or Images(), name=bench.name, out=tmp_path / out, **words)
        return tmp_path / out

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def pictures(*folders: Path) -> dict[str, np.ndarray]:
    """Every picture in a folder's blocks, by name."""
    found: dict[str, np.ndarray] = {}
    for archive in [path for folder in folders for path in sorted(folder.glob("block-*.zip"))]:
        with zipfile.ZipFile(archive) as opened:
            for name in opened.namelist():
                assert name not in found
                found[name] = np.asarray(Image.open(io.BytesIO(opened.read(name))))
    return found


def test_every_item_has_its_pictures_under_the_official_names(draw: Draw) -> None:
    items = items_of(11, (42, 43, 44))
    painter = Painter()
    folder = draw(fake(running, items), painter)
    found = pictures(folder)
    assert sorted(found) == sorted(ref.name for refs in running(items) for ref in refs)
    assert [len(prompts) for prompts, *_ in painter.asked] == [8, 3]  # blocks of the open world
    _, keys, sampling = painter.asked[0]
    assert keys[5] == [(seed, "benchmark", "fake", "i5", k) for k, seed in enumerate((42, 43, 44))]
    assert (sampling.noises, sampling.layers) == (1, 4)
    wanted = generator("painter", "prompt 9", 43, "benchmark", "fake", "i9", 1).integers(
        0, 256, (H, W, 3), dtype=np.uint8
    )
    assert np.array_equal(found["samples/prompt 9_000028.png"], wanted)
    located = find([folder])
    assert located.doubled == () and np.array_equal(located.pixels(Ref("samples/prompt 9_000028.png")), wanted)


def test_a_grid_is_one_file_whose_tiles_are_the_pictures(draw: Draw) -> None:
    items = items_of(3, (0, 1, 2, 3))
    folder = draw(fake(grids, items), Painter())
    found = pictures(folder)
    assert {name: pixels.shape for name, pixels in found.items()} == dict.fromkeys(
        ("i0.png", "i1.png", "i2.png"), (2 * H, 2 * W, 3)
    )
    for k in range(4):
        wanted = generator("painter", "prompt 1", k, "benchmark", "fake", "i1", k).integers(
            0, 256, (H, W, 3), dtype=np.uint8
        )
        assert np.array_equal(find([folder]).pixels(Ref("i1.png", (k, 2, 2))), wanted)
    assert json.loads((folder / "drawn.json").read_text())["resolution"] == f"{W}x{H}"  # of a tile


def test_shards_together_are_the_whole(draw: Draw) -> None:
    bench = fake(running, items_of(35, (1, 2)), {"0/metadata.jsonl": "{}"})
    whole = pictures(draw(bench, Painter(), "whole"))
    shards = [draw(bench, Painter(), f"shard-{i}", shard=(i, 3)) for i in range(3)]
    parts = pictures(*shards)
    assert parts.keys() == whole.keys() and all(np.array_equal(parts[name], whole[name]) for name in whole)
    assert sorted(path.name for path in shards[1].glob("[!.]*")) == ["block-00001.zip", "block-00004.zip", "drawn.json"]
    assert find(shards).doubled == ()
    assert len({(shard / "drawn.json").read_bytes() for shard in shards}) == 1
    with zipfile.ZipFile(shards[0] / "extras.zip") as extras:
        assert extras.read("0/metadata.jsonl") == b"{}"
    assert not (shards[1] / "extras.zip").exists()


def test_a_killed_run_ends_in_the_bytes_of_an_unbroken_one(draw: Draw, tmp_path: Path) -> None:
    bench, state = fake(running, items_of(35, (1, 2))), tmp_path / "state"
    whole = contents(draw(bench, Painter(), "whole"))
    child = os.fork()
    if not child:
        draw(bench, Painter(kill_at=3), "cut", state=state)
        os._exit(1)  # not reached: the painter kills it
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "cut").exists()
    kept = sorted(state.rglob("block-*.zip"))
    assert len(kept) == 3
    kept[1].write_bytes(kept[1].read_bytes()[:-1])  # a block that the disk lost a byte of is drawn again
    painter = Painter()
    assert contents(draw(bench, painter, "cut", state=state)) == whole
    assert painter.calls == 3  # of five blocks, two were there
    assert not state.exists()


def test_state_of_another_way_to_draw_is_not_continued(draw: Draw, tmp_path: Path) -> None:
    bench, state = fake(running, items_of(16, (1, 2))), tmp_path / "state"
    child = os.fork()
    if not child:
        draw(bench, Painter(kill_at=1), "cut", state=state)
        os._exit(1)
    os.waitpid(child, 0)
    painter = Painter()
    draw(bench, painter, "cut", Images(temperature=0.5), state=state)
    assert painter.calls == 2


def test_what_is_there_is_not_drawn_again(draw: Draw) -> None:
    bench = fake(running, items_of(20, (1, 2)))
    folder = draw(bench, Painter())
    before = contents(folder)
    (folder / "block-00001.zip").unlink()
    painter = Painter()
    assert contents(draw(bench, painter)) == before
    assert painter.calls == 1
    others = Painter()
    assert contents(draw(bench, others, settings=Images(temperature=0.5))) != before
    assert others.calls == 3


def test_drawn_json_says_how(draw: Draw) -> None:
    settings = Images(guidance=5.0, top_k=7)
    folders = [draw(fake(running, items_of(9, (7, 3))), Painter(), str(i), settings, shard=(i, 3)) for i in range(3)]
    note = json.loads((folders[1] / "drawn.json").read_text())
    assert (note["benchmark"], note["lmm"], note["guidance"], note["seeds"]) == ("fake", "janus", 5.0, [3, 7])
    assert note["sampling"] == {"temperature": 1.0, "top_p": 0.999, "top_k": 7, "guidance": 5.0}
    assert (note["resolution"], note["prompt rewriting"]) == (f"{W}x{H}", "none")
    assert list(folders[2].iterdir()) == []  # a shard without a block has nothing to say


def test_a_part_keeps_the_names_and_the_pictures(draw: Draw) -> None:
    bench = fake(running, items_of(20, (5, 6)))
    whole = pictures(draw(bench, Painter(), "whole"))
    folder = draw(bench, Painter(), "part", only=("shape",), first=3)
    part = pictures(folder)
    assert sorted(part) == [f"samples/prompt {i}_{2 * i + k:06d}.png" for i in (1, 3, 5) for k in (0, 1)]
    assert all(np.array_equal(part[name], whole[name]) for name in part)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (lambda items: [[Ref("a.png"), Ref(f"{item.id}.png")] for item in items], "a.png would be a picture of both"),
        (lambda items: [[Ref(f"{item.id}.png")] * 2 for item in items], r"tiles \[None, None\], expected \[None\]"),
        (lambda items: [[Ref(f"{item.id}.png", (k, 2, 2)) for k in (0, 3)] for item in items], "every one once"),
        (lambda items: [[Ref(f"{item.id}.png")] for item in items], "i0 has 1 names for 2 pictures"),
    ],
)
def test_names_that_would_lose_a_picture_are_refused(
    names: Callable[..., list[list[Ref]]], says: str, draw: Draw, tmp_path: Path
) -> None:
    painter = Painter()
    with pytest.raises(InputError, match=says):
        draw(fake(names, items_of(3, (1, 2))), painter)
    assert painter.calls == 0 and not (tmp_path / "out").exists()


def test_what_the_lmm_cannot_draw_is_named(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("guidance is 5.0: must be 1")

    monkeypatch.setattr(Painter, "draw", refuse)
    with pytest.raises(InputError, match=r"ckpt: fake, items i0 .. i2: guidance is 5.0: must be 1"):
        draw(fake(running, items_of(3, (1,))), Painter())
