"""DPG-Bench: 1,065 dense prompts, four pictures each in one file as a grid of 2 x 2, yes/no questions in a tree.

The arithmetic of TencentQQGYLab/ELLA@3c228f1 (dpg_bench/compute_dpg_bench.py), as one process computes it. Its faults,
which `official` has and `corrected` has not:
- The first row of the CSV is dropped (issue #61: pandas has taken the header already). Where other questions of that
  prompt depend on it, and the judge's answers lead there, the prompt raises KeyError and is skipped without a word: it
  has no official score.
- Categories pool the answers of the last tile alone (issue #60), and before those with a missing parent became 0.
- Zeroing goes through the file once, so that a parent that stands later has not been zeroed yet; `corrected` zeroes
  whatever presupposes a no at any remove.
- An answer counts if it is "yes" to the letter; `corrected` compares the probabilities of "yes" and "no".
- With several processes (the published script starts eight), categories are gathered in the order of a set, which
  differs from process to process: those numbers cannot be reproduced, and are not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from silmm.benchmarks.dpg.asking import likely_yes, look, rows_of, written_yes
from silmm.benchmarks.dpg.official_files import write_official
from silmm.benchmarks.dpg.questions import Question, notes, read_questions
from silmm.benchmarks.dpg.tallies import tallies
from silmm.benchmarks.dpg.zeroing import by_ancestors, in_place
from silmm.benchmarks.interface import Benchmark, DataFile, Finding, Item, Layout, Ref, Row
from silmm.benchmarks.named_by_id import named_by_id
from silmm.benchmarks.pictures import PictureFiles
from silmm.benchmarks.scores import listed
from silmm.errors import RecordError

COMMIT = "3c228f1dc6c4d3cad0a47493816151a419f14db3"
TILES = 4
PROMPTS = 1065  # in the published folder


def read(folder: Path) -> list[Item]:
    """The prompts of `dpg_bench.csv`, in its order; their texts are those of `prompts/<id>.txt` where the folder has
    them (the same folder of ELLA's repository), else the CSV's.

    Raises RecordError as `read_questions` does, and for prompts without questions, questions of unknown prompts, and
    parents that are no numbers (with which the published code ends).
    """
    file = folder / "dpg_bench.csv"
    asked = read_questions(file)
    if words := [f"{one.item_id} {q.id}" for one in asked for q in one.questions if q.words]:
        raise RecordError(f"{file}: {len(words)} questions depend on what is no number ({listed(words)}): correct them")
    texts = {one.item_id: one.prompt for one in asked}
    if (folder / "prompts").is_dir():
        prompts = _prompts(folder / "prompts")
        if bare := sorted(set(prompts) - set(texts)):
            raise RecordError(
                f"{file}: {len(bare)} prompts have no questions ({listed(bare)}): give the official files"
            )
        if strange := sorted(set(texts) - set(prompts)):
            raise RecordError(
                f"{file}: questions of {len(strange)} unknown prompts ({listed(strange)}): not in prompts/"
            )
        texts = prompts
    return [Item(one.item_id, texts[one.item_id], "all", tuple(range(TILES)), one.questions) for one in asked]


def _prompts(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("*.txt")):
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = ""
        if not text:
            raise RecordError(f"{path}: not a text that can be read: expected a prompt")
        found[path.stem] = text
    return found


def locate(files: PictureFiles, items: Sequence[Item]) -> list[list[Ref]]:
    """Grids of 2 x 2 named `<id>.png`. Raises InputError for what is missing or doubled."""
    return [[Ref(name, (i, 2, 2)) for i in range(TILES)] for name in named_by_id(files, items)]


def names(items: Sequence[Item]) -> list[list[Ref]]:
    """The official names, with the tiles from left to right, the upper row first."""
    return [[Ref(f"{item.id}.png", (i, 2, 2)) for i in range(TILES)] for item in items]


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """A row a question and tile; `official` is nan for the dropped question, and for a prompt that is skipped."""
    made = []
    for item, seen in zip(items, findings, strict=True):
        questions: Sequence[Question] = item.facts
        official = _official(questions, seen)
        parents = {question.id: question.parents for question in questions}
        labels = [question.detailed for question in questions]
        for image, finding in enumerate(seen):
            corrected = by_ancestors(likely_yes(questions, finding), parents)
            made += rows_of(item, image, finding, labels, official[image], corrected)
    return made


def _official(questions: Sequence[Question], seen: Sequence[Finding]) -> list[dict[int, float]]:
    """Of each tile. One tile that fails fails the file."""
    dropped = dict.fromkeys((question.id for question in questions), float("nan"))
    parents = {question.id: question.parents for question in questions if question.row > 0}
    try:
        scores = []
        for finding in seen:
            yes = {q: answer for q, answer in written_yes(questions, finding).items() if q in parents}
            scores.append({**dropped, **in_place(yes, parents)})
    except KeyError:
        return [dropped] * len(seen)
    return scores


BENCHMARK = Benchmark(
    name="dpg_bench",
    title="DPG-Bench",
    commit=f"TencentQQGYLab/ELLA@{COMMIT[:7]}",
    files=(
        DataFile(
            "dpg_bench.csv",
            f"https://raw.githubusercontent.com/TencentQQGYLab/ELLA/{COMMIT}/dpg_bench/dpg_bench.csv",
            None,
        ),
    ),
    judges={"vqa": "mplug_visual-question-answering_coco_large_en"},
    layout=Layout(locate, names, whole="dpg_bench_1"),
    read=read,
    roles_of=lambda category: ("vqa",),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={},
    prompts=PROMPTS,
    write_official=write_official,
    notes=notes,
)
