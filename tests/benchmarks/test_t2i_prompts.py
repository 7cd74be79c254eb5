"""T2I-CompBench++'s official lists, and the names of its pictures."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from silmm.benchmarks import data_files
from silmm.benchmarks.interface import Item
from silmm.benchmarks.pictures import find
from silmm.benchmarks.t2i_compbench.benchmark import BENCHMARK
from silmm.benchmarks.t2i_compbench.layout import locate, names
from silmm.benchmarks.t2i_compbench.prompts import ACTION, BOTH, LISTS, SPATIAL, read
from silmm.errors import InputError, RecordError

PROMPTS = ("a red car", "a blue dog")


@pytest.fixture(scope="module")
def official() -> Path:
    if not (folder := os.environ.get("SILMM_BENCHMARKS")):
        pytest.skip("SILMM_BENCHMARKS is not set: no official files")
    return Path(folder) / "t2i-compbench"


def test_the_official_lists(official: Path) -> None:
    items = read(official)
    assert Counter(item.category for item in items) == dict.fromkeys(LISTS, 300)
    assert Counter(item.facts for item in items if item.category == "complex") == {SPATIAL: 58, ACTION: 212, BOTH: 30}
    numbers = Counter(number for item in items if item.category == "numeracy" for _, number in item.facts)
    assert numbers == {2: 196, 3: 177, 4: 163, 1: 127 + 26, 6: 14, 7: 14, 5: 13, 8: 6}  # "one", and 26 of 31 "a", "an"
    assert len({item.id for item in items}) == 2400
    assert sum(len(item.seeds) for item in items) == 24_000
    assert items[0].seeds == tuple(range(42, 52))
    assert max(len(f"{item.prompt}_000000.png") for item in items) < 255
    assert data_files.others(BENCHMARK.files, data_files.hashes(BENCHMARK, official)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.split("\n", 1)[1], "color_val.txt: 299 prompts: expected 300"),
        (lambda text: text.replace("\n", "\n\n", 1), "color_val.txt:2: no prompt"),
        (lambda text: "a green bench and a blue bowl\n" + text, "color_val.txt:2: the prompt of line 1 again"),
        (lambda text: text.replace("a green bench", "../a", 1), "color_val.txt:1: .* cannot name a picture"),
        (lambda text: text.replace("a green bench", "a_b", 1), "color_val.txt:1: .* cannot name a picture"),
    ],
)
def test_lists_that_are_not_the_official_ones(
    official: Path, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    for file in BENCHMARK.files:
        shutil.copy(official / file.path, tmp_path / file.path)
        (tmp_path / file.path).chmod(0o644)
    file = tmp_path / "color_val.txt"
    file.write_text(change(file.read_text()))
    with pytest.raises(RecordError, match=message):
        read(tmp_path)


def items(category: str = "color") -> list[Item]:
    return [Item(f"{category}-{i:03d}", prompt, category, (42, 43, 44)) for i, prompt in enumerate(PROMPTS)]


def put(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def drawn(where: str, running: bool) -> list[str]:
    return [f"{where}/{p}_{i * 3 * running + k:06d}.png" for i, p in enumerate(PROMPTS) for k in range(3)]


@pytest.mark.parametrize("where", ["color/samples", "color_val/samples", "color"])
@pytest.mark.parametrize("running", [True, False])
def test_both_ways_to_number_and_to_name(tmp_path: Path, where: str, running: bool) -> None:
    put(tmp_path, *drawn(where, running), f"{where}/another prompt_000099.png", f"{where}/grid.png")
    refs = locate(find([tmp_path]), items())
    assert [[ref.name for ref in own] for own in refs] == [drawn(where, running)[:3], drawn(where, running)[3:]]


def test_what_is_drawn_here_is_found(tmp_path: Path) -> None:
    both = [*items(), *items("spatial_2d")]
    put(tmp_path, *(ref.name for own in names(both) for ref in own))
    assert locate(find([tmp_path]), both) == names(both)
    assert names(both)[1][0].name == "color/samples/a blue dog_000003.png"
    assert names(both)[2][0].name == "spatial_2d/samples/a red car_000000.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "color/samples/a red car_000001.png").unlink(), "'a red car' has 2"),
        (lambda folder: put(folder, "color/samples/a red car_000077.png"), "'a red car' has 4"),
        (
            lambda folder: (folder / "color/samples/a red car_000001.png").rename(
                folder / "color/samples/a red car_x_2.png"
            ),
            "'a red car' has a number twice",
        ),
        (lambda folder: put(folder, "color_val/a red car_000000.png"), "color: in two folders"),
        (lambda folder: (folder / "color").rename(folder / "colour"), "color: no pictures"),
    ],
)
def test_a_wrong_count_is_listed(tmp_path: Path, change: Callable[[Path], object], message: str) -> None:
    change(put(tmp_path, *drawn("color/samples", running=True)))
    with pytest.raises(InputError, match=message):
        locate(find([tmp_path]), items())


def test_a_picture_in_two_shards_is_doubled(tmp_path: Path) -> None:
    for shard in ("a", "b"):
        put(tmp_path / shard, *drawn("color/samples", running=True)[shard == "b" :])
    with pytest.raises(InputError, match="'a red car' has 5"):
        locate(find([tmp_path / "a", tmp_path / "b"]), items())
