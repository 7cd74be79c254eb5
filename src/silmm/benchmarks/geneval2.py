"""GenEval 2: 800 prompts of 3 to 10 atoms, one picture each, 6,012 questions to a VLM (Soft-TIFA).

The arithmetic of facebookresearch/GenEval2@a6e82d2 (evaluation.py, soft_tifa_analysis.py). A question's value is the
probability of its right answer as the next token, summed over spellings: of a number its word, capitalised or not, with
a space before or not, and its digit, with a space before or not; else of "yes", likewise. Soft-TIFA AM is the mean over
prompts of the mean over questions, GM the mean over prompts of the geometric mean; a skill pools its questions, a
number of atoms is the GM of its prompts. The fault that `official` has and `corrected` has not:
- Of a spelling of several tokens the first token counts. For Qwen " 3" is two, a space and the digit, so that the
  probability of a lone space counts for every number, the right one or not. `corrected` counts spellings that are one
  token alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from silmm.benchmarks.interface import (
    CORRECTED,
    OFFICIAL,
    Benchmark,
    DataFile,
    Finding,
    Item,
    Layout,
    Ref,
    Row,
    Tally,
)
from silmm.benchmarks.json_lines import read_lines, text_of
from silmm.benchmarks.judges.interface import Answer, Judges, Query
from silmm.benchmarks.named_by_id import ONE_PICTURE, named_by_id
from silmm.errors import RecordError
from silmm.probability import capped
from silmm.typed_json import one_of, short

if TYPE_CHECKING:
    import numpy as np

    from silmm.benchmarks.pictures import PictureFiles

COMMIT = "a6e82d2289e8d418f27f0adee77908b07060eea3"
DATA = "geneval2_data.jsonl"
SKILLS = ("count", "object", "attribute", "position", "verb")
ATOMS = range(3, 11)
AM, GM = "soft_tifa_am", "soft_tifa_gm"
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")  # of one token, as their digits are
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS, 1)}
YES, COUNTS = "Yes", "How many"  # the other questions' answer; what the published code knows counting by


class Question(NamedTuple):
    """One atom of a prompt."""

    text: str
    answer: str  # one of NUMBERS, or YES
    skill: str

    @property
    def counts(self) -> bool:
        """Whether a number is asked for."""
        return self.text.startswith(COUNTS)


def read(folder: Path) -> list[Item]:
    """The prompts by their number from 0; a category is the number of atoms. Raises RecordError with file and line for
    what is not as published, a prompt twice among it: pictures are named by prompts."""
    items: list[Item] = []
    places: dict[str, str] = {}
    for number, (where, row) in enumerate(read_lines(folder / DATA)):
        prompt = text_of(where, row, "prompt")
        if prompt in places:
            raise RecordError(f"{where}: prompt {short(prompt)} is in {places[prompt]}, too: give the official file")
        places[prompt] = where.rpartition(": ")[2]
        atoms = row.get("atom_count")
        if type(atoms) is not int or atoms not in ATOMS:
            raise RecordError(f"{where}: atom_count is {short(atoms)}: expected {ATOMS[0]} to {ATOMS[-1]}")
        items.append(Item(str(number), prompt, f"atoms_{atoms}", (0,), _questions(where, row)))
    return items


def _questions(where: str, row: dict[str, Any]) -> tuple[Question, ...]:
    asked, skills = row.get("vqa_list"), row.get("skills")
    if not isinstance(asked, list) or not asked or not isinstance(skills, list) or len(skills) != len(asked):
        raise RecordError(f"{where}: expected vqa_list, some questions, and skills, as many")
    return tuple(_question(where, *pair) for pair in zip(asked, skills, strict=True))


def _question(where: str, pair: Any, skill: Any) -> Question:
    valid = isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
    if not valid or not pair[0].strip():
        raise RecordError(f"{where}: question {short(pair)}: expected a list of question and answer")
    if skill not in SKILLS:
        raise RecordError(f"{where}: skill is {short(skill)}: {one_of(SKILLS)}")
    question = Question(pair[0], pair[1], skill)
    answers = NUMBERS if question.counts else (YES,)
    if question.answer not in answers:
        raise RecordError(f"{where}: answer of {short(question.text)} is {short(pair[1])}: {one_of(answers)}")
    return question


def look(judges: Judges, pictures: Sequence[np.ndarray], items: Sequence[Item]) -> list[Finding]:
    """Of each question the probability of the right answer, by the published rule and by the corrected one, and the
    answer that the judge finds the likeliest."""
    assert judges.vqa is not None
    answers = judges.vqa.answer(pictures, [[query for q in item.facts for query in _queries(q)] for item in items])
    return [_finding(item.facts, iter(own)) for item, own in zip(items, answers, strict=True)]


def _queries(question: Question) -> list[Query]:
    text = f"{question.text} Answer in one word."
    if not question.counts:
        return [Query(text)]
    return [Query(text, (question.answer, DIGITS[question.answer])), Query(text, _all_numbers(), whole=True)]


def _all_numbers() -> tuple[str, ...]:
    return (*NUMBERS, *DIGITS.values())


def _finding(questions: Sequence[Question], answers: Iterator[Answer]) -> Finding:
    """Takes the answers to `_queries` of each question."""
    found: Finding = {"official": [], "corrected": [], "said": []}
    for question in questions:
        official = next(answers)
        if question.counts:
            probs = dict(zip(_all_numbers(), next(answers).probs, strict=True))
            of_number = {word: capped(probs[word] + probs[digit]) for word, digit in DIGITS.items()}
            values = capped(sum(official.probs)), of_number[question.answer], max(NUMBERS, key=of_number.__getitem__)
        else:
            values = official.probs[0], official.probs[0], official.text
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    return found


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """A row a question; `p` is the published probability, `answer` what the judge finds the likeliest."""
    made = []
    for item, seen in zip(items, findings, strict=True):
        for image, finding in enumerate(seen):
            told = zip(finding["official"], finding["corrected"], finding["said"], strict=True)
            for number, (question, (official, corrected, said)) in enumerate(zip(item.facts, told, strict=True), 1):
                asked = (str(number), question.skill, question.text, question.answer)
                made.append(Row(item.id, image, *asked, said, official, official, corrected))
    return made


def tallies(items: Sequence[Item], rows: Sequence[Row]) -> list[Tally]:
    """Skills, numbers of atoms, AM, GM."""
    own: dict[str, list[Row]] = {item.id: [] for item in items}
    for row in rows:
        own[row.item_id].append(row)
    made: dict[str, list[Tally]] = {name: [] for name in (*SKILLS, *(f"atoms_{n}" for n in ATOMS), AM, GM)}
    for item in items:
        for variant in (OFFICIAL, CORRECTED):
            values = [(row.category, getattr(row, variant)) for row in own[item.id]]
            for skill in dict.fromkeys(skill for skill, _ in values):
                mine = [value for name, value in values if name == skill]
                made[skill].append(Tally(variant, skill, item.id, math.fsum(mine), len(mine)))
            every = [value for _, value in values]
            gm = geometric_mean(every)
            made[AM].append(Tally(variant, AM, item.id, math.fsum(every) / len(every), 1.0))
            made[GM].append(Tally(variant, GM, item.id, gm, 1.0))
            made[item.category].append(Tally(variant, item.category, item.id, gm, 1.0))
    return [tally for name in made for tally in made[name]]


def geometric_mean(values: Sequence[float]) -> float:
    """Of numbers from 0; nothing where one of them is. In logarithms: ten small probabilities multiply to 0."""
    if min(values) <= 0:
        return 0.0
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def locate(files: PictureFiles, items: Sequence[Item]) -> list[list[Ref]]:
    """By the official JSON map {prompt: file}, or `<number>.png` in a folder. Raises InputError as `named_by_id`."""
    if files.map is None:
        return ONE_PICTURE.locate(files, items)
    return [[Ref(name)] for name in named_by_id(files, [item._replace(id=item.prompt) for item in items])]


def picture_map(items: Sequence[Item]) -> Mapping[str, str]:
    """The map that the published evaluator asks for."""
    named = {item.prompt: ref.name for item, (ref,) in zip(items, ONE_PICTURE.names(items), strict=True)}
    return {"images.json": json.dumps(named, indent=1) + "\n"}


def write_official(folder: Path, items: Sequence[Item], rows: Sequence[Row]) -> None:
    """`score_lists.json`: of each prompt the list of its questions' values, as `soft_tifa_analysis.py` reads it."""
    lists: dict[str, list[float]] = {item.id: [] for item in items}
    for row in rows:
        lists[row.item_id].append(row.official)
    (folder / "score_lists.json").write_text(json.dumps(list(lists.values())) + "\n", encoding="utf-8")


BENCHMARK = Benchmark(
    name="geneval2",
    title="GenEval 2",
    commit=f"facebookresearch/GenEval2@{COMMIT[:7]}",
    files=(
        DataFile(
            DATA,
            f"https://raw.githubusercontent.com/facebookresearch/GenEval2/{COMMIT}/{DATA}",
            "09233adbc9f877fba205f1a20efa4a8640e7e62a91dfd55893562bed8a928e43",
        ),
    ),
    judges={"vqa": "Qwen/Qwen3-VL-8B-Instruct"},
    layout=Layout(locate, ONE_PICTURE.names, picture_map),
    read=read,
    roles_of=lambda category: ("vqa",),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={},
    prompts=800,
    write_official=write_official,
    upright=True,
)
