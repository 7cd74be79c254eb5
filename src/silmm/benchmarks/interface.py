"""What a benchmark is: prompts, official names of their pictures, what judges are asked, and the arithmetic.

One evaluation goes `read` -> `locate` -> `look` (the only step with models, kept block by block) -> `rows` ->
`tallies`. All but `look` are functions of data alone, so that the published arithmetic is tested without any model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from silmm.benchmarks.judges.interface import Judges
    from silmm.benchmarks.pictures import PictureFiles

Finding = dict[str, Any]  # what the judges saw in one picture: JSON types alone, for it is kept in a file
OFFICIAL, CORRECTED = VARIANTS = ("official", "corrected")  # the published arithmetic, and with its faults mended


class DataFile(NamedTuple):
    """An official file: never part of this repository."""

    path: str  # in the folder that a user gives
    url: str  # at a fixed commit
    sha256: str | None  # of the file at that commit; None where it could not be had to compute it


class Item(NamedTuple):
    """One prompt."""

    id: str  # as the official files number or name it, unique in the benchmark; a word of letters, digits, '._-'
    prompt: str
    category: str  # the part of the benchmark that it belongs to: `--only` chooses by it
    seeds: tuple[int, ...]  # the official seed of each of its pictures
    facts: Any = None  # what the benchmark's own functions need to know of it: questions, objects, relations


class Ref(NamedTuple):
    """Where one picture is."""

    name: str  # of a file among the pictures, '/' between folders
    tile: tuple[int, int, int] | None = None  # (i, columns, rows): the i-th of a grid, row by row


class Row(NamedTuple):
    """What was asked of one picture, what came out, and what that is worth."""

    item_id: str
    image: int  # number among the item's pictures, from 0
    question_id: str  # unique within the item
    category: str  # that the row counts for
    question: str
    expected: str
    answer: str
    p: float  # the judge's probability, similarity or confidence; nan where it gives none
    official: float  # nan where the published arithmetic leaves it out
    corrected: float


class Tally(NamedTuple):
    """What one item adds to one category: its score is the sum of totals over the sum of weights, times `scale`."""

    variant: str  # of VARIANTS
    category: str
    item_id: str
    total: float
    weight: float  # not zero in silence: an item that the published arithmetic leaves out has no official tally


class Layout(NamedTuple):
    """The official names of the pictures."""

    # Refs [item][picture] in a user's files; raises InputError that lists what is missing, doubled or one too many.
    locate: Callable[[PictureFiles, Sequence[Item]], list[list[Ref]]]
    # Refs [item][picture] of pictures that are drawn here. The items are always all of the benchmark's, in order.
    names: Callable[[Sequence[Item]], list[list[Ref]]]
    # What else the official evaluator wants beside the pictures: content by file name.
    extras: Callable[[Sequence[Item]], Mapping[str, str]] = lambda items: {}
    # Of a layout of grids: the benchmark of the same prompts that takes one whole picture a file.
    whole: str | None = None


class Benchmark(NamedTuple):
    """One public benchmark; `silmm.benchmarks.registry` knows them by name."""

    name: str  # on the command line
    title: str
    commit: str  # the official code that it follows, `owner/name@commit`
    files: tuple[DataFile, ...]
    judges: Mapping[str, str]  # by role (see judges.interface): the official judge, as the hub or its authors name it
    layout: Layout
    read: Callable[[Path], list[Item]]  # the official files in a folder; raises RecordError
    roles_of: Callable[[str], tuple[str, ...]]  # the roles that a category needs
    look: Callable[
        [Judges, Sequence[np.ndarray], Sequence[Item]], list[Finding]
    ]  # pictures uint8 [H, W, 3], their items
    rows: Callable[[Sequence[Item], Sequence[Sequence[Finding]]], list[Row]]  # findings [item][picture]
    tallies: Callable[[Sequence[Item], Sequence[Row]], list[Tally]]
    groups: Mapping[
        str, tuple[str, ...]
    ]  # means over categories, of which a score is reported too, the overall one last
    scale: float = 100.0
    prompts: int | None = None  # how many the official files have; None where a part of them is in use too
    # Official output files, for tools that read them: writes into a folder.
    write_official: Callable[[Path, Sequence[Item], Sequence[Row]], None] | None = None
    # What the detector is asked for in an item's pictures (of judges.interface: OBJECTS, COUNTING), if it is; and how
    # many objects it found, by a finding on such a picture.
    finds: Callable[[Item], str | None] = lambda item: None
    found: Callable[[Finding], int] = lambda finding: 0
    # What else the numbers hang on, to stand beside them: what is amiss in the official files, counted; a parser.
    notes: Callable[[Sequence[Item]], Mapping[str, Any]] = lambda items: {}
    upright: bool = False  # whether its own code turns a picture as EXIF says; none lays what is transparent on white
