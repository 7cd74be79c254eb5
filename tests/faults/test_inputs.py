"""Every input file of every stage, damaged in every way: one line that names it, and nothing made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.conftest import Site, refusal
from tests.faults.damage import ANY, ARRAYS, LINES, TABLES, Damage

LINES_OF = {
    "prompts.jsonl": ("images", "questions", "align", "audit", "evaluate"),
    "qa.jsonl": ("score", "pairs", "align", "audit"),
}
TABLES_OF = {
    "scores.parquet": ("pairs", "audit"),
    "scores/shard-0.parquet": ("gather",),
    "pairs.parquet": ("align", "evaluate"),
    "images/shard-0/index.parquet": ("score", "oracle", "align", "audit"),
}
ARRAYS_OF = {"images/shard-0/representations.safetensors": ("score", "align", "evaluate")}
ZIPS_OF = {"images/shard-0/pictures.zip": ("oracle", "audit")}
WEIGHTS_OF = {"ckpt/model.safetensors": ("images",), "ckpt/visual_tokenizer.safetensors": ("score",)}
TEXTS_OF = {"ckpt/config.json": ("images", "evaluate"), "ckpt/tokenizer.json": ("prompts",)}
# Gathering joins tables, of whatever prompts; a table of pairs may hold a pair less.
ALLOWED = {("gather", "another_prompt_s"), ("images", "last_byte_lost"), ("prompts", "last_byte_lost")}
# The first stage of each file gets every damage, the others, which read it by the same function, these.
FEW = ("missing", "cut", "png", "field_missing", "id_leads_out", "column_missing", "another_prompt_s", "not_finite")


def cases() -> list[tuple[str, str, str, Damage]]:
    """(stage, file, name of the damage, damage)."""
    kinds: list[tuple[dict[str, tuple[str, ...]], dict[str, Damage]]] = [
        (LINES_OF, {**ANY, **LINES}),
        (TABLES_OF, {**ANY, **TABLES}),
        (ARRAYS_OF, {**ANY, **ARRAYS}),
        (ZIPS_OF, ANY),
        (WEIGHTS_OF, {**ANY, "no_such_array": ARRAYS["no_such_array"], "not_finite": ARRAYS["not_finite"]}),
        (TEXTS_OF, ANY),
    ]
    return [
        (stage, file, name, damage)
        for files, damages in kinds
        for file, stages in files.items()
        for stage in stages
        for name, damage in damages.items()
        if (stage, name) not in ALLOWED and (stage == stages[0] or name in FEW)
    ]


CASES = cases()


@pytest.mark.parametrize(
    ("stage", "file", "damage"),
    [(stage, file, damage) for stage, file, _, damage in CASES],
    ids=[f"{stage}-{Path(file).name}-{name}" for stage, file, name, _ in CASES],
)
def test_damage_is_named_and_nothing_is_made(
    stage: str, file: str, damage: Damage, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(site.folder / file)
    before = site.contents()
    # A row of another prompt is found where two files do not agree: either may be the wrong one.
    names = site.folder if damage is TABLES["another_prompt_s"] else site.folder / file
    refusal(site.command(stage), names, capsys)
    assert site.contents() == before
