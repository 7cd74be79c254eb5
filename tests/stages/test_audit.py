"""The oracle on a policy's answers: shares of a sample's pictures, and files that do not belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silmm.records import (
    AUDIT,
    INDEX,
    SCORES,
    Prompt,
    PromptQuestions,
    Question,
    RecordError,
    read_table,
    write_jsonl,
    write_table,
)
from silmm.shapeworld.render import render
from silmm.shapeworld.scene import Obj, Scene
from silmm.stages import audit
from silmm.stages.picture_file import picture_writer

RED = Obj("red", "circle", "solid", "big", 0, 0)
RIGHT = Scene((RED, Obj("blue", "square", "solid", "big", 0, 4)), ())
SWAPPED = Scene((RED._replace(col=4), Obj("blue", "square", "solid", "big", 0, 0)), ())
ALONE = Scene((RED,), ())
TEXTS = ("is there a red circle ?", "is a red circle left of a blue square ?", "are there two objects ?")


def files(folder: Path, texts: tuple[str, ...] = TEXTS, prompt: str = "a red circle left of a blue square") -> dict:
    """One prompt, two samples of two pictures each: right and swapped, alone and malformed."""
    write_jsonl(folder / "prompts.jsonl", [Prompt("p0", "layout", "spatial_2d", prompt, 0)])
    questions = tuple(Question(f"q{i}", text) for i, text in enumerate(texts))
    write_jsonl(folder / "qa.jsonl", [PromptQuestions("p0", (), questions)])
    shard = folder / "shard-0"
    shard.mkdir()
    pictures = render([RIGHT, SWAPPED, ALONE, ALONE])
    pictures[3] = np.random.default_rng(0).integers(0, 256, pictures.shape[1:])
    keys = [(k, m) for k in (0, 1) for m in (0, 1)]
    with picture_writer(shard) as add:
        for (k, m), pixels in zip(keys, pictures, strict=True):
            add(f"p0_{k}_{m}.png", pixels)
    index = {"prompt_id": ["p0"] * 4, "sample": [k for k, _ in keys], "noise": [m for _, m in keys]}
    write_table(shard / "index.parquet", index | {"file": [f"p0_{k}_{m}.png" for k, m in keys]}, INDEX)
    rows = [(k, q) for k in (0, 1) for q in range(len(texts))]
    write_table(
        folder / "scores.parquet",
        {
            "prompt_id": ["p0"] * len(rows),
            "sample": [k for k, _ in rows],
            "question_id": [f"q{q}" for _, q in rows],
            "p_yes": [0.1 * (1 + q) for _, q in rows],
            "p_no": [0.05 * (1 + k) for k, _ in rows],
        },
        SCORES,
    )
    names = {"prompts": folder / "prompts.jsonl", "qa": folder / "qa.jsonl", "scores": folder / "scores.parquet"}
    return {**names, "images": (shard,), "out": folder / "audit.parquet"}


def test_shares_of_pictures(tmp_path: Path) -> None:
    given = files(tmp_path)
    audit.run(**given)
    rows = read_table(given["out"], AUDIT).to_pandas()
    assert list(rows.kind) == ["exist", "relation", "total"] * 2
    assert list(rows.oracle) == [1.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert list(rows.whole) == [0.5] * 3 + [0.0] * 3
    # units: red circle, blue square, left, two objects: 4 and 3 of 4; 1 and 0 of 4
    assert list(rows.held) == [7 / 8] * 3 + [1 / 8] * 3
    assert set(rows.pictures) == {2} and set(rows.subcategory) == {"spatial_2d"} and set(rows.expected) == {"yes"}
    np.testing.assert_allclose(rows.p_yes, [0.1, 0.2, 0.3] * 2, rtol=1e-6)
    np.testing.assert_allclose(rows.p_no, [0.05] * 3 + [0.1] * 3, rtol=1e-6)


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    given = files(tmp_path)
    audit.run(**given)
    before = given["out"].read_bytes()
    audit.run(**given)
    assert given["out"].read_bytes() == before


def test_what_the_oracle_cannot_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"qa.jsonl: question q0 of prompt p0 is not one that the oracle can judge"):
        audit.run(**files(tmp_path, ("a red circle ?",)))
    assert not (tmp_path / "audit.parquet").exists()


def test_a_prompt_outside_the_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"prompts.jsonl: p0 is no prompt of ShapeWorld's language: 'hello'"):
        audit.run(**files(tmp_path, prompt="hello"))


def test_a_picture_that_is_not_whole_is_named(tmp_path: Path) -> None:
    given = files(tmp_path)
    archive = tmp_path / "shard-0/pictures.zip"
    archive.write_bytes(archive.read_bytes()[:-60])
    with pytest.raises(RecordError, match=r"pictures.zip: not a whole ZIP archive .* re-run silmm images"):
        audit.run(**given)


def test_scores_of_other_images_are_refused(tmp_path: Path) -> None:
    given = files(tmp_path)
    (empty := tmp_path / "empty").mkdir()
    write_table(empty / "index.parquet", {name: [] for name in INDEX.columns}, INDEX)
    with pytest.raises(RecordError, match=r"scores.parquet: sample 0 of prompt p0 is in none of the image folders"):
        audit.run(**given | {"images": (empty,)})


def test_answers_that_are_missing_are_refused(tmp_path: Path) -> None:
    given = files(tmp_path)
    given["qa"].write_text(given["qa"].read_text().replace('"q2"', '"q7"'))
    with pytest.raises(RecordError, match=r"scores.parquet: .*do not match qa.jsonl"):
        audit.run(**given)
