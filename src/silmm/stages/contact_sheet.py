"""The same evaluation prompts drawn by two policies with the same random numbers, side by side."""

from __future__ import annotations

from pathlib import Path

from silmm.lmm.sampler import DEFAULT, parse_sampler
from silmm.report.contact_sheet import Tile, contact_sheet
from silmm.shapeworld import exam
from silmm.shapeworld.language import SUBCATEGORIES
from silmm.stages.pictures import tokens_of
from silmm.stages.runtime import prepare
from silmm.stages.verdicts import verdicts
from silmm.stages.worlds import load_judged

ROWS = 4  # prompts of each sub-category: the first ones, unselected


def run(*, base: Path, after: Path, seed: int, out: Path, threads: int = 1) -> None:
    """Draw with the default sampler (temperature 1 without a cut; fresh decoder noise), judge by the oracle, write one
    PNG."""
    prepare(threads)
    tests = sorted(exam.prompts(ROWS * len(SUBCATEGORIES)), key=lambda t: SUBCATEGORIES.index(t.subcategory))
    sides = []
    for folder in (base, after):
        policy = load_judged(folder)
        sampler = DEFAULT[policy.images]
        keys = [[(seed, "evaluate", sampler, t.id, 0)] for t in tests]
        drawn = policy.draw([t.prompt for t in tests], keys, parse_sampler(sampler, policy.images))
        sides.append(verdicts(policy, [t.spec for t in tests], tokens_of(drawn)[:, 0]))
    old, new = sides
    tiles = [
        Tile(t.prompt, t.subcategory, old.pictures_NHWC[i], new.pictures_NHWC[i], old.whole_N[i], new.whole_N[i])
        for i, t in enumerate(tests)
    ]
    title = f"ShapeWorld, held-out prompts: base and last iteration (seed {seed}, {sampler}, first prompts, unselected)"
    contact_sheet(tiles, out, title, names=("base", "after"))
