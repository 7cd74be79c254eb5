"""What the evaluation writes of a picture: the oracle's word, with a policy that only renders and shrugs."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.records import EVAL, PAIRS, Metric, Prompt, RecordError, write_jsonl, write_table
from silmm.shapeworld import exam
from silmm.shapeworld.oracle import read
from silmm.shapeworld.render import render
from silmm.shapeworld.scene import Obj, Scene
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


def test_ties_of_pairs_are_neither_right_nor_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    circle, square = Obj("red", "circle", "solid", "big", 0, 0), Obj("blue", "square", "solid", "big", 0, 2)
    scenes = [Scene((circle, square), ()), Scene((circle,), ()), Scene((square,), ()), None]
    monkeypatch.setattr(evaluate, "read", lambda pixels: [scenes[i] for i in pixels])
    policy: Any = types.SimpleNamespace(render=lambda tokens: tokens)
    text = {"p0": Prompt("p0", "attribute", "color", "a red circle and a blue square", 0)}
    pairs = [(0, 1), (1, 2), (3, 1)]  # right, a tie (two of three units each), wrong
    rows = [{"prompt_id": "p0", "chosen": a, "rejected": b} for a, b in pairs]
    needed = [("p0", k) for k in range(4)]
    learned = evaluate.Learned(rows, text, needed, {key: np.array([key[1]]) for key in needed})
    assert evaluate._pairing(policy, learned) == [
        Metric("pair_accuracy", "step2", "color", 0.5, 2),
        Metric("pair_ties", "step2", "color", pytest.approx(1 / 3), 3),
    ]
    alike = evaluate._pairing(policy, learned._replace(rows=rows[1:2]))
    assert alike == [Metric("pair_ties", "step2", "color", 1.0, 1)]
