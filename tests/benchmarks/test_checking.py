"""All pictures before any judge: bad ones in one list, grids that can be some, and what was made of them."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from silmm.benchmarks import checking, looking, registry
from silmm.benchmarks.interface import Benchmark, Layout, Ref
from silmm.benchmarks.judges import load as loading
from silmm.benchmarks.judges.interface import Judges
from silmm.benchmarks.pictures import find
from silmm.errors import InputError
from silmm.picture_reader import AS_STORED
from silmm.stages import benchmark
from tests.benchmarks import toy

GRIDS = toy.TOY._replace(
    name="dpg_bench",
    layout=Layout(lambda files, items: refs_of(("a.png", "b.png")), toy.names, whole="dpg_bench_1"),
)


def refs_of(names: Sequence[str]) -> list[list[Ref]]:
    return [[Ref(name, (i, 2, 2)) for i in range(4)] for name in names]


def run(tmp_path: Path, benchmark_: Benchmark, monkeypatch: pytest.MonkeyPatch, **given: Any) -> Path:
    monkeypatch.setattr(registry, "get", lambda name: benchmark_)
    pictures = tmp_path / "pictures"
    asked = {"name": "toy", "data": tmp_path / "pictures_data", "images": (pictures,), "judge": {}, **given}
    benchmark.run(out=tmp_path / "out", **asked)
    return tmp_path / "out"


def jpegs(folder: Path, damaged: Sequence[int], count: int = 12) -> list[str]:
    """JPEGs under the names of the toy's PNGs: content counts. The damaged ones end early."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    for i, name in enumerate(names[:count]):
        (folder / name).write_bytes(buffer.getvalue()[: -200 if i in damaged else None])
    return [names[i] for i in damaged]


def test_all_bad_pictures_are_listed_before_a_judge_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = jpegs(toy.draw(tmp_path / "pictures"), (1, 6, 11))
    monkeypatch.setattr(loading, "load", lambda role, source: pytest.fail("a judge is loaded"))
    with pytest.raises(InputError) as error:
        run(tmp_path, toy.TOY, monkeypatch)
    said = str(error.value)
    assert f"3 pictures cannot be read ({', '.join(bad)})" in said and "\n" not in said
    assert "truncated" in said


def test_many_bad_pictures_are_listed_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking, "MOST", 2)
    bad = jpegs(toy.draw(tmp_path / "pictures"), (1, 6, 11))
    with pytest.raises(InputError, match=rf"3 pictures cannot be read \({bad[0]}, {bad[1]} and 1 more\)"):
        run(tmp_path, toy.TOY, monkeypatch)
    lines = [line for line in capsys.readouterr().err.splitlines() if "truncated" in line]
    assert [f"{tmp_path}/pictures/{name}" for name in bad] == [line.split(": ")[0] for line in lines]


@pytest.mark.parametrize(("upright", "said"), [(True, "turned upright"), (False, "judged as it is stored, not turned")])
def test_what_the_stored_colours_do_not_say_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    upright: bool,
    said: str,
) -> None:
    folder = toy.draw(tmp_path / "pictures")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (8, 6)).save(folder / "dark/t0_0.png", exif=exif)
    Image.new("RGBA", (8, 6), (9, 9, 9, 0)).save(folder / "dark/t0_1.png")
    Image.fromarray(np.full((6, 8), 51 * 257, np.uint16)).save(folder / "dark/t2_0.png")
    monkeypatch.setattr(loading, "load", lambda role, source: toy.Bright("bright"))
    out = run(tmp_path, toy.TOY._replace(upright=upright), monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"toy: 1 of 12 pictures: EXIF orientation: {said}, as in the published code",
        "toy: 1 of 12 pictures: transparent in part: judged with its hidden colours, as in the published code",
        "toy: 1 of 12 pictures: 16 bits of grey: scaled to 8",
    ]
    about = json.loads((out / "run.json").read_text())
    assert about["pictures read"] == {"formats": {"PNG": 12}} | {line.split(": ", 2)[2]: 1 for line in lines}
    assert about["pictures by size"] == ({"8x6": 11, "6x8": 1} if upright else {"8x6": 12})
    rows = (out / "table.md").read_text()
    assert said in rows


def test_plain_pictures_need_no_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.draw(tmp_path / "pictures")
    monkeypatch.setattr(loading, "load", lambda role, source: toy.Bright("bright"))
    run(tmp_path, toy.TOY, monkeypatch)
    assert capsys.readouterr().out == ""


def test_by_which_code_a_picture_is_turned() -> None:
    turned = {name: registry.get(name).upright for name in registry.BENCHMARKS}
    assert [name for name, upright in turned.items() if upright] == ["geneval2", "tifa", "geneval"]
    assert {name: registry.get(name).layout.whole for name in turned if registry.get(name).layout.whole} == {
        "dpg_bench": "dpg_bench_1"
    }


def test_the_size_of_the_tiles_is_said(tmp_path: Path) -> None:
    for name, size in (("a.png", (1024, 768)), ("b.png", (512, 512)), ("c.png", (512, 512))):
        Image.new("RGB", size).save(tmp_path / name)
    found = checking.check(GRIDS, find([tmp_path]), refs_of(("a.png", "b.png", "c.png")))
    told = "grids of 2 x 2 equal pictures (2 of 512x512, each picture 256x256, 1 of 1024x768, each picture 512x384)"
    assert found.about["files taken for"] == told
    assert found.lines == [
        f"dpg_bench: files are taken for {told}; where each file is one whole picture, take dpg_bench_1"
    ]


@pytest.mark.parametrize("size", [(1023, 1024), (1024, 769)])
def test_a_size_that_is_no_grid_asks_for_the_other_benchmark(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save(tmp_path / "a.png")
    Image.new("RGB", (512, 512)).save(tmp_path / "b.png")
    with pytest.raises(InputError) as error:
        checking.check(GRIDS, find([tmp_path]), refs_of(("a.png", "b.png")))
    said = str(error.value)
    assert f"1 files are no grids of 2 x 2 equal pictures (a.png: {size[0]}x{size[1]})" in said
    assert said.endswith("where each file is one whole picture, take dpg_bench_1")


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"p": float(picture.mean()), "n": len(pictures)} for picture in pictures]


def test_large_grids_are_in_memory_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight grids of 3 MB: all tiles of two blocks at most, and one grid beside them."""
    monkeypatch.setattr(looking, "BYTES", 3_000_000)
    names = [f"{i}.png" for i in range(8)]
    for name in names:
        Image.new("RGB", (1000, 1000), (7, 7, 7)).save(tmp_path / name)
    items = [toy.Item(name, name, "dark", (0,) * 4) for name in names]
    bench = toy.TOY._replace(look=look)
    tracemalloc.start()
    try:
        seen = looking.look_at(bench, Judges(), items, find([tmp_path], AS_STORED), refs_of(names), tmp_path / "state")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen.sizes == {"500x500": 32}
    assert [[one["p"] for one in own] for own in seen.findings] == [[7.0] * 4] * 8
    assert {one["n"] for own in seen.findings for one in own} == {4}  # a grid a block
    assert peak < 6 * 3_000_000


def test_blocks_of_large_pictures_go_on_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are as long as their bytes allow, and the same ones the next time."""
    monkeypatch.setattr(looking, "BYTES", 8 * 6 * 3 * 2)
    toy.draw(tmp_path / "pictures")
    judge = toy.Bright("bright", stop_after=7)
    monkeypatch.setattr(loading, "load", lambda role, source: judge)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, toy.TOY, monkeypatch)
    judge.looked, judge.stop_after = 0, float("inf")
    run(tmp_path, toy.TOY, monkeypatch)
    assert judge.looked == 12 - 6
