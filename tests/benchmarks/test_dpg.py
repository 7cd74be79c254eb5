"""DPG-Bench: its file, its published arithmetic with the faults, and the corrected one; all cases worked by hand."""

from __future__ import annotations

import csv
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from silmm.benchmarks import registry
from silmm.benchmarks.dpg.zeroing import by_ancestors, by_answers, in_place
from silmm.benchmarks.interface import Finding, Item, Row, Tally
from silmm.benchmarks.judges.interface import Answer, Card, Judges, Query
from silmm.benchmarks.pictures import find
from silmm.errors import InputError, RecordError

DPG = registry.get("dpg_bench")
HEADER = [
    "item_id", "text", "keywords", "proposition_id", "dependency", "category_broad", "category_detailed", "tuple",
    "question_natural_language",
]  # fmt: skip
YES, NO = (0.9, 0.1), (0.2, 0.8)


def question(item: str, number: int, dependency: str, label: str = "entity - whole", text: str = "") -> list[str]:
    """A row of the file."""
    broad, _, detailed = label.partition(" - ")
    said = text or f"{item} {number}?"
    return [item, f"a prompt of {item}", "", str(number), dependency, broad, detailed, f"{label} (it)", said]


FIRST = question("first", 1, "0")  # dropped by the published code


def written(folder: Path, rows: Sequence[Sequence[str]], prompts: Sequence[str] = ()) -> Path:
    with (folder / "dpg_bench.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER, *rows])
    for name in prompts:
        (folder / "prompts").mkdir(exist_ok=True)
        (folder / "prompts" / f"{name}.txt").write_text(f"the text of {name}\n")
    return folder


def saw(*answers: str) -> Finding:
    """One picture: the written answers; the probabilities say the same."""
    probs = [YES if answer == "yes" else NO for answer in answers]
    return {"answers": list(answers), "p_yes": [p[0] for p in probs], "p_no": [p[1] for p in probs]}


def scores(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> dict[tuple[str, str], float]:
    """(variant, category) to score, of 1."""
    sums: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for tally in DPG.tallies(items, DPG.rows(items, findings)):
        sums[tally.variant, tally.category].append(tally)
    return {key: sum(t.total for t in own) / sum(t.weight for t in own) for key, own in sums.items()}


# --- zeroing ------------------------------------------------------------------------------------------------------

CHAIN = {1: (), 2: (1,), 3: (2,)}
BACKWARDS = {1: (2,), 2: (3,), 3: ()}
CIRCLE = {1: (2,), 2: (1,), 3: (3,)}


@pytest.mark.parametrize(
    ("yes", "parents", "cascaded", "not_cascaded", "ancestors"),
    [
        pytest.param("nyy", CHAIN, "000", "001", "000", id="a chain: the grandchild falls with DPG alone"),
        pytest.param("yyn", BACKWARDS, "100", "100", "000", id="parents that come later are not yet zero"),
        pytest.param("yny", CHAIN, "100", "100", "100", id="a parent"),
        pytest.param("yyy", CIRCLE, "111", "111", "111", id="a circle of yes"),
        pytest.param("yny", CIRCLE, "001", "001", "001", id="a circle with a no"),
    ],
)
def test_zeroing(
    yes: str, parents: Mapping[int, tuple[int, ...]], cascaded: str, not_cascaded: str, ancestors: str
) -> None:
    answers = {number: letter == "y" for number, letter in enumerate(yes, 1)}
    for rule, expected in ((in_place, cascaded), (by_answers, not_cascaded), (by_ancestors, ancestors)):
        assert rule(answers, parents) == {number: float(digit) for number, digit in enumerate(expected, 1)}


def test_a_parent_that_is_no_question() -> None:
    parents = {1: (9,), 2: (1,)}
    for rule in (in_place, by_answers):
        with pytest.raises(KeyError):
            rule({1: True, 2: True}, parents)
    assert by_ancestors({1: True, 2: True}, parents) == {1: 1.0, 2: 1.0}


# --- scores -------------------------------------------------------------------------------------------------------


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """`first` has the row that is dropped, on which nothing depends; `tree` a chain and a colour."""
    tree = [
        question("tree", 1, "0"),
        question("tree", 2, "1", "attribute - color"),
        question("tree", 3, "2", "relation - spatial"),
        question("tree", 4, "0", "global"),
    ]
    return DPG.read(written(tmp_path, [FIRST, question("first", 2, "0"), *tree]))


def test_scores_worked_by_hand(items: Sequence[Item]) -> None:
    """Tiles of `first`: (1, 2) yes/no; of `tree`: nothing wrong, the root missing, all right, the colour missing."""
    first = [saw("no", "yes"), saw("no", "yes"), saw("no", "yes"), saw("no", "no")]
    tree = [
        saw("yes", "yes", "yes", "yes"),
        saw("no", "yes", "yes", "yes"),  # cascades: 0, 0, 0, 1
        saw("yes", "yes", "yes", "yes"),
        saw("yes", "no", "yes", "yes"),  # 1, 0, 0, 1
    ]
    found = scores(items, [first, tree])
    # official: question 1 of `first` is dropped: tiles 1, 1, 1, 0; tree: 1, 1/4, 1, 2/4
    assert found["official", "all"] == (3 / 4 + (1 + 0.25 + 1 + 0.5) / 4) / 2
    assert found["corrected", "all"] == ((0.5 + 0.5 + 0.5 + 0) / 4 + (1 + 0.25 + 1 + 0.5) / 4) / 2
    # categories, officially: the last tile as it was answered
    assert found["official", "entity"] == 1 / 2  # `first` 2: no; `tree` 1: yes
    assert found["official", "attribute"] == found["official", "attribute - color"] == 0.0
    assert found["official", "relation"] == 1.0  # "yes", though its parent is not there
    assert found["official", "global"] == 1.0
    # corrected: all tiles, as they count
    assert found["corrected", "entity"] == (3 + 3) / 12
    assert found["corrected", "relation"] == 2 / 4
    assert found["corrected", "attribute"] == 2 / 4
    assert ("official", "other") not in found


def test_the_first_row_is_dropped_with_all_that_depends_on_it(tmp_path: Path) -> None:
    rows = [FIRST, question("first", 2, "1"), question("first", 3, "2,1"), question("other", 1, "0")]
    items = DPG.read(written(tmp_path, rows))
    made = DPG.rows(items, [[saw("yes", "yes", "yes")] * 4, [saw("yes")] * 4])
    assert [math.isnan(row.official) for row in made] == [True] * 12 + [False] * 4
    tallies = DPG.tallies(items, made)
    assert {t.item_id for t in tallies if t.variant == "official"} == {"other"}
    assert {t.item_id for t in tallies if t.variant == "corrected"} == {"first", "other"}


def test_a_lost_parent_behind_a_no_is_never_reached(tmp_path: Path) -> None:
    rows = [FIRST, question("first", 2, "0"), question("first", 3, "2,1")]
    items = DPG.read(written(tmp_path, rows))
    safe, failing = saw("yes", "no", "yes"), saw("yes", "yes", "yes")
    official = [row.official for row in DPG.rows(items, [[safe] * 4])]
    assert official[1:3] == [0.0, 0.0] and math.isnan(official[0])
    assert all(math.isnan(row.official) for row in DPG.rows(items, [[safe, safe, safe, failing]]))


@pytest.mark.parametrize("answer", ["Yes", "yes.", "yes, two", " yes"])
def test_yes_to_the_letter(items: Sequence[Item], answer: str) -> None:
    evading = {"answers": [answer] * 2, "p_yes": [0.6, 0.4], "p_no": [0.1, 0.5]}
    made = DPG.rows(items[:1], [[evading] * 4])
    assert {row.official for row in made[1::2]} == {0.0}
    assert [row.corrected for row in made[:2]] == [1.0, 0.0]


def test_the_published_result_file(items: Sequence[Item], tmp_path: Path) -> None:
    tree = [saw("yes", "yes", "yes", "yes"), *[saw("no", "yes", "yes", "yes")] * 3]
    made = DPG.rows(items, [[saw("no", "yes")] * 4, tree])
    assert DPG.write_official is not None
    DPG.write_official(tmp_path, items, made)
    lines = (tmp_path / "dpg-bench_results.txt").read_text().splitlines()
    assert lines[:2] == ["first.png, 1.0, 1.0, 1.0, 1.0, 1.0", "tree.png, 1.0, 0.25, 0.25, 0.25, 0.4375"]
    assert lines[-1] == "DPG-Bench score: 71.875"
    assert "\tentity: 50.0" in lines and "\tattribute - color: 100.0" in lines


def test_scores_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    rng = random.Random(0)
    blocks = [[question(f"p{i}", n, str(rng.randrange(n))) for n in range(1, 6)] for i in range(6)]
    pictures = {f"p{i}": [saw(*rng.choices(["yes", "no"], k=5)) for _ in range(4)] for i in range(6)}
    found = []
    for order in (range(6), (3, 1, 5, 0, 4, 2)):
        (folder := tmp_path / str(order)).mkdir()
        rows = [FIRST, *(row for i in order for row in blocks[i])]
        items = DPG.read(written(folder, rows))[1:]
        found.append(scores(items, [pictures[item.id] for item in items]))
    assert found[0] == pytest.approx(found[1], abs=1e-12)


# --- the file -----------------------------------------------------------------------------------------------------


def test_prompts_are_those_of_the_folder(tmp_path: Path) -> None:
    items = DPG.read(written(tmp_path, [FIRST, question("b", 1, "0")], ["first", "b"]))
    assert [(item.id, item.prompt) for item in items] == [("first", "the text of first"), ("b", "the text of b")]
    assert DPG.notes(items) == {}


@pytest.mark.parametrize(
    ("rows", "prompts", "message"),
    [
        ([FIRST, question("b", 1, "0")], ["first"], "questions of 1 unknown prompts (b)"),
        ([FIRST], ["first", "c", "d"], "2 prompts have no questions (c, d)"),
        ([FIRST, FIRST], [], "question 1 of first twice"),
        ([FIRST, question("b", 1, "0"), question("first", 2, "0")], [], "first in two places"),
        ([FIRST, question("b", 2, "5, right")], [], "1 questions depend on what is no number (b 2)"),
        ([FIRST, question("b", 1, "0", text=" ")], [], "question row 2: no question of b"),
        ([question("../b", 1, "0")], [], "item_id is '../b'"),
        ([["b", "text"]], [], "another number of fields"),
        ([], [], "no questions"),
    ],
)
def test_files_that_are_refused(
    tmp_path: Path, rows: Sequence[Sequence[str]], prompts: Sequence[str], message: str
) -> None:
    with pytest.raises(RecordError) as error:
        DPG.read(written(tmp_path, rows, prompts))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_dependencies_that_are_odd_are_counted(tmp_path: Path) -> None:
    rows = [FIRST, question("first", 2, "3"), question("first", 3, "3"), question("first", 4, "7")]
    assert DPG.notes(DPG.read(written(tmp_path, rows))) == {
        "questions with a parent that is no question": 1,
        "questions that depend on themselves": 1,
        "questions with a parent that comes later": 1,
    }


# --- pictures and judges ------------------------------------------------------------------------------------------


def test_tiles_are_read_row_by_row(items: Sequence[Item], tmp_path: Path) -> None:
    grid = np.zeros((4, 6, 3), np.uint8)
    for i in range(4):
        grid[i // 2 * 2 : i // 2 * 2 + 2, i % 2 * 3 : i % 2 * 3 + 3] = i
    for item in items:
        Image.fromarray(grid).save(tmp_path / f"{item.id}.png")
    files = find([tmp_path])
    refs = DPG.layout.locate(files, items)
    assert refs == DPG.layout.names(items)
    assert [int(files.pixels(ref).max()) for ref in refs[0]] == [0, 1, 2, 3]
    assert files.pixels(refs[1][2]).shape == (2, 3, 3)
    single = registry.get("dpg_bench_1")
    assert [files.pixels(ref).shape for (ref,) in single.layout.locate(files, items)] == [(4, 6, 3)] * 2


@pytest.mark.parametrize("name", ["dpg_bench", "dpg_bench_1", "dsg_1k", "tifa"])
def test_pictures_that_are_missing_or_doubled_are_listed(items: Sequence[Item], tmp_path: Path, name: str) -> None:
    locate = registry.get(name).layout.locate
    (tmp_path / "tree.png").write_bytes(b"")
    (tmp_path / "tree.jpg").write_bytes(b"")
    with pytest.raises(InputError) as error:
        locate(find([tmp_path]), items)
    assert "1 of 2 prompts have no picture (first)" in str(error.value)
    assert "2 pictures where one is expected (tree.jpg, tree.png)" in str(error.value)
    (file := tmp_path / "map.json").write_text('{"tree": "tree.png", "first": "gone.png"}')
    with pytest.raises(InputError, match="1 of 2 prompts have no picture \\(first\\)"):
        locate(find([file]), items)


class Parrot:
    """Answers what the question ends with."""

    card = Card("vqa", "parrot", "parrot", "1", "any")

    def answer(self, pictures: Sequence[np.ndarray], asked: Sequence[Sequence[Query]]) -> list[list[Answer]]:
        assert all(query.free and query.choices == ("yes", "no") for own in asked for query in own)
        return [[Answer(NO, query.text.split()[-1]) for query in own] for own in asked]


def test_what_is_asked_and_kept(items: Sequence[Item]) -> None:
    found = DPG.look(Judges(vqa=Parrot()), [np.zeros((2, 2, 3), np.uint8)] * 2, [items[1], items[0]])
    assert found == [
        {"answers": ["1?", "2?", "3?", "4?"], "p_yes": [0.2] * 4, "p_no": [0.8] * 4},
        {"answers": ["1?", "2?"], "p_yes": [0.2] * 2, "p_no": [0.8] * 2},
    ]
    rows: list[Row] = DPG.rows([items[0]], [[found[1]] * 4])
    assert rows[0]._replace(official=0.0) == Row(
        "first", 0, "1", "entity - whole", "first 1?", "yes", "1?", 0.2, 0.0, 0.0
    )
