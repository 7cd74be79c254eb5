"""What the evaluation writes of a picture: the oracle's word, with a policy that only renders and shrugs."""

from __future__ import annotations

import types

import numpy as np

from silmm.records import EVAL
from silmm.shapeworld import exam
from silmm.shapeworld.oracle import read
from silmm.shapeworld.render import render
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
