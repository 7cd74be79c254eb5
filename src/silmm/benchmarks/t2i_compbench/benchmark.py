"""T2I-CompBench++ (Huang et al., arXiv 2307.06350 and TPAMI 2025): 8 categories of 300 prompts, ten pictures each.

The arithmetic of Karine-Huang/T2I-CompBench@1b70949; each kind of question has its own file here, with its faults. Its
detector, UniDet, does not come as a wheel: numbers of 2D, 3D, numeracy and complex prompts are those of another judge.
A complex prompt is the mean of what it has of attributes, 2D relations and actions (3_in_1_eval/3_in_1.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from silmm.benchmarks.interface import Benchmark, Finding, Item, Layout, Row
from silmm.benchmarks.t2i_compbench import phrases
from silmm.benchmarks.t2i_compbench.boxes import Part, Seen
from silmm.benchmarks.t2i_compbench.layout import locate, names
from silmm.benchmarks.t2i_compbench.official_files import write_official
from silmm.benchmarks.t2i_compbench.prompts import COMMIT, FILES, read
from silmm.benchmarks.t2i_compbench.scores import BOXES, PHRASES, TEXT, tallies
from silmm.benchmarks.t2i_compbench.seeing import (
    DEPTH,
    DETECTED,
    OF_CATEGORY,
    compared,
    is_parsed,
    look,
    purpose,
    words_of,
)
from silmm.benchmarks.t2i_compbench.words import Words, parser

ROLES = {PHRASES: "vqa", TEXT: "clip", BOXES: "detector", DEPTH: "depth"}


def rows(items: Sequence[Item], findings: Sequence[Sequence[Finding]]) -> list[Row]:
    """A row a noun phrase, an object, a relation, a count or a text. `official` of a phrase that the published
    evaluator does not ask about is nan."""
    words = words_of(items)
    made = []
    for item, seen in zip(items, findings, strict=True):
        for image, finding in enumerate(seen):
            for part in _parts(item, finding, words):
                made.append(Row(item.id, image, part.id, item.category, *part[1:]))
    return made


def _parts(item: Item, finding: Finding, words: dict[str, Words]) -> list[Part]:
    parts: list[Part] = []
    if PHRASES in finding:
        parts += _phrase_parts(item, finding[PHRASES], words[item.prompt])
    if BOXES in finding:
        parts += [part._replace(id=f"{BOXES}-{part.id}") for part in _box_parts(item, finding, words.get(item.prompt))]
    if TEXT in finding:
        cosine = finding[TEXT]
        parts.append(Part(TEXT, compared(item, words), "similar", f"{cosine:.4f}", cosine, cosine, cosine))
    return parts


def _phrase_parts(item: Item, probs: Sequence[Sequence[float]], words: Words) -> list[Part]:
    parts = []
    for k, (phrase, (p_yes, p_no)) in enumerate(zip(phrases.asked(item.prompt, words), probs, strict=True)):
        p = phrases.likely(p_yes, p_no)
        official = phrases.rounded(p) if k < phrases.counted(words) else math.nan
        answer = "yes" if p > 0.5 else "no"
        parts.append(Part(f"{PHRASES}-{k}", f"{phrase}?", "yes", answer, p, official, p))
    return parts


def _box_parts(item: Item, finding: Finding, words: Words | None) -> list[Part]:
    boxes = [Seen(label, score, tuple(xyxy), depth and tuple(depth)) for label, score, xyxy, depth in finding[BOXES]]
    return DETECTED[item.category].parts(item, words, boxes, tuple(finding["size"]))


def notes(items: Sequence[Item]) -> dict[str, Any]:
    """What parsed the prompts: another parser gives other scores."""
    return {"parser of the prompts": parser()} if any(map(is_parsed, items)) else {}


BENCHMARK = Benchmark(
    name="t2i_compbench++",
    title="T2I-CompBench++",
    commit=f"Karine-Huang/T2I-CompBench@{COMMIT[:7]}",
    files=FILES,
    judges={
        "vqa": "Salesforce/blip-vqa-capfilt-large",
        "clip": "openai/clip-vit-base-patch32",
        "detector": "UniDet",
        "depth": "Intel/dpt-hybrid-midas",
    },
    layout=Layout(locate, names),
    read=read,
    roles_of=lambda category: tuple(ROLES[kind] for kind in OF_CATEGORY[category]),
    look=look,
    rows=rows,
    tallies=tallies,
    groups={
        "attribute": ("color", "shape", "texture"),
        "layout": ("spatial_2d", "spatial_3d", "numeracy"),
        "all": tuple(OF_CATEGORY),
    },
    write_official=write_official,
    notes=notes,
    finds=purpose,
    found=lambda finding: len(finding[BOXES]),
)
