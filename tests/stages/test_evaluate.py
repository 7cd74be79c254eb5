"""What the evaluation writes of a picture: the oracle's word, with a policy that only renders and shrugs."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest

from silmm.records import EVAL, PAIRS, Prompt, RecordError, write_jsonl, write_table
from silmm.shapeworld import exam
from silmm.shapeworld.oracle import read
from silmm.shapeworld.render import render
from silmm.stages import evaluate
from silmm.stages.evaluate import _judge


def test_the_objects_are_those_that_the_oracle_reads() -> None:
    scenes = [sight.scene for sight in exam.sights(16)[:16]]
    counts = [len(scene.objects) for scene in scenes]
    assert len(set(counts)) > 1
    pictures = render(scenes)
    pictures[3] = np.random.default_rng(0).integers(0, 256, pictures[3].shape)
    assert read(pictures)[3] is None
    counts[3] = 0
    tests = exam.prompts(8)
    policy = types.SimpleNamespace(
        render=lambda numbers: pictures[numbers[:, 0]],
        answer=lambda _, questions: [np.full((len(texts), 2), 0.5) for texts in questions],
    )
    columns: dict[str, list] = {name: [] for name in EVAL.columns}
    _judge(policy, "t1.0", tests, np.arange(16).reshape(8, 2, 1), columns)  # type: ignore[arg-type]
    rows = zip(columns["prompt_id"], columns["sample"], columns["objects"], columns["malformed"], strict=True)
    found = {(prompt, sample): (objects, bad) for prompt, sample, objects, bad in rows}
    places = [(t.id, k) for t in tests for k in range(2)]
    assert [found[place] for place in places] == [(n, i == 3) for i, n in enumerate(counts)]


@pytest.mark.parametrize(
    ("prompt_id", "message"),
    [
        ("p9", "prompt p9 is not in .*prompts.jsonl"),
        ("p0", "sample 1 of prompt p0 is in none of the folders .*shard-0"),
    ],
)
def test_pairs_of_other_images_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt_id: str, message: str
) -> None:
    write_jsonl(tmp_path / "prompts.jsonl", [Prompt("p0", "attribute", "color", "a red circle", 0)])
    columns = dict(zip(PAIRS.columns, ([prompt_id], [0], [1], [0.5], [0.1]), strict=True))
    write_table(tmp_path / "pairs.parquet", columns, PAIRS)
    monkeypatch.setattr(evaluate, "read_tokens", lambda _: {("p0", 0): np.zeros((1, 36), np.int64)})
    with pytest.raises(RecordError, match=message):
        evaluate._learned(tmp_path / "pairs.parquet", tmp_path / "prompts.jsonl", (tmp_path / "shard-0",))
