"""All pictures before any judge is loaded: each one decoded, bad ones listed, and what was made of them said."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from silmm.benchmarks.interface import Benchmark, Ref
from silmm.benchmarks.pictures import PictureFiles
from silmm.benchmarks.scores import listed
from silmm.errors import InputError
from silmm.picture_reader import Kind

MOST = 20  # bad pictures that the last line names; where there are more, each has a line before it


class Checked(NamedTuple):
    """What is to be said of the pictures."""

    lines: list[str]  # on the screen: nothing where they are plain
    about: dict[str, Any]  # beside the numbers


def check(benchmark: Benchmark, files: PictureFiles, refs: Sequence[Sequence[Ref]]) -> Checked:
    """Decode every file once, one at a time.

    Raises InputError that lists the files that cannot be read, or those that are not made of as many equal tiles as
    the benchmark's layout says.
    """
    tiles = {ref.name: ref.tile for own in refs for ref in own}
    kinds = _kinds(files, list(tiles))
    grids = {name: (tile[1], tile[2]) for name, tile in tiles.items() if tile}
    whole = benchmark.layout.whole
    way_on = f"; where each file is one whole picture, take {whole}" if whole else ""
    if uneven := [name for name, grid in grids.items() if kinds[name].width % grid[0] or kinds[name].height % grid[1]]:
        sizes = [f"{name}: {_size(kinds[name])}" for name in uneven]
        raise InputError(f"{files.where}: {len(uneven)} files are no {_form(grids)} ({listed(sizes)}){way_on}")
    lines, about = _treatment(list(kinds.values()), benchmark.upright)
    if grids:
        told = _grids(kinds, grids)
        lines.insert(0, f"files are taken for {told}{way_on}")
        about["files taken for"] = told
    return Checked([f"{benchmark.name}: {line}" for line in lines], about)


def _kinds(files: PictureFiles, names: Sequence[str]) -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    bad: dict[str, str] = {}
    for name in tqdm(names, "check", unit="picture", mininterval=1):
        try:
            kinds[name] = files.decoded(name).kind
        except InputError as error:
            bad[name] = str(error)
    if bad:
        if len(bad) > MOST:
            print(*bad.values(), sep="\n", file=sys.stderr)
        listing, first = listed(list(bad), MOST), next(iter(bad.values()))
        raise InputError(f"{files.where}: {len(bad)} pictures cannot be read ({listing}); the first: {first}")
    return kinds


def _treatment(kinds: Sequence[Kind], upright: bool) -> tuple[list[str], dict[str, Any]]:
    """What is not simply the stored colours, counted."""
    turned = "turned upright" if upright else "judged as it is stored, not turned"
    counts = {
        f"EXIF orientation: {turned}, as in the published code": sum(kind.turned for kind in kinds),
        "transparent in part: judged with its hidden colours, as in the published code": sum(
            kind.transparent for kind in kinds
        ),
        "16 bits of grey: scaled to 8": sum(kind.deep for kind in kinds),
    }
    found = {what: count for what, count in counts.items() if count}
    formats = Counter(kind.format for kind in kinds)
    about = {"formats": dict(sorted(formats.items())), **found}
    return [f"{count} of {len(kinds)} pictures: {what}" for what, count in found.items()], about


def _grids(kinds: Mapping[str, Kind], grids: Mapping[str, tuple[int, int]]) -> str:
    sizes = Counter(
        f"{_size(kinds[name])}, each picture {kinds[name].width // columns}x{kinds[name].height // rows}"
        for name, (columns, rows) in grids.items()
    )
    told = [f"{count} of {size}" for size, count in sizes.most_common()]
    return f"{_form(grids)} ({listed(told, 3)})"


def _form(grids: Mapping[str, tuple[int, int]]) -> str:
    """In words; a layout has grids of one form."""
    columns, rows = next(iter(grids.values()))
    return f"grids of {columns} x {rows} equal pictures"


def _size(kind: Kind) -> str:
    return f"{kind.width}x{kind.height}"
