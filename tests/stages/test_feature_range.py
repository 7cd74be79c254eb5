"""The evaluation's question whether features stay where their decoder was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from silmm.lmm.shapeworld import data
from silmm.lmm.shapeworld import pretrain_continuous as painting
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.records import Prompt, RecordError, write_jsonl
from silmm.settings import Images, Pretrain
from silmm.shapeworld import exam
from silmm.stages import images
from silmm.stages.feature_range import feature_ranges
from tests.lmm.conftest import build

TESTS = exam.prompts(8)


@pytest.fixture(scope="module")
def painter() -> ContinuousLMM:
    """Its range is that of the evaluation prompts' own features, so these are at 1 on average."""
    torch.set_num_threads(1)
    lmm = painting.new_painter(build(), Pretrain(queries=4, blocks=1, heads=2), data.spec_pool(0, 64), 0)
    with torch.no_grad():
        lmm.decoder.range.measure(lmm.features([test.prompt for test in TESTS]))
    return lmm


@pytest.fixture(scope="module")
def step_2(painter: ContinuousLMM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts of another sub-category than their text's, and what DivDrop draws of them."""
    root = tmp_path_factory.mktemp("step2")
    (root / "ckpt").mkdir()
    painter.save(root / "ckpt")
    rows = [Prompt(f"p{i}", "layout", "numeracy", test.prompt, 0) for i, test in enumerate(TESTS)]
    write_jsonl(root / "prompts.jsonl", rows)
    for name, rate in (("divdrop", 0.5), ("plain", 0.0)):
        images.run(
            Images(n=2, rate=rate, layers=2), ckpt=root / "ckpt", prompts=root / "prompts.jsonl", seed=0, iteration=1,
            shard=(0, 1), out=root / name,
        )  # fmt: skip
    return root


def test_features_of_both_ways_to_draw_by_sub_category(painter: ContinuousLMM, step_2: Path) -> None:
    found = feature_ranges(painter, TESTS, step_2 / "prompts.jsonl", (step_2 / "plain",))
    assert sorted(found) == ["no_dropout", "step2"]
    assert set(found["no_dropout"]) == {test.subcategory for test in TESTS} and len(found["no_dropout"]) == 8
    assert np.mean([value for values in found["no_dropout"].values() for value in values]) == pytest.approx(1, rel=1e-3)
    assert list(found["step2"]) == ["numeracy"] and len(found["step2"]["numeracy"]) == 16
    assert np.mean(found["step2"]["numeracy"]) == pytest.approx(1, rel=1e-3)  # the same features, drawn without masks
    dropped = feature_ranges(painter, TESTS, step_2 / "prompts.jsonl", (step_2 / "divdrop",))
    assert np.mean(dropped["step2"]["numeracy"]) > 1.5
    assert list(feature_ranges(painter, TESTS, None, None)) == ["no_dropout"]


def test_an_lmm_without_a_range_has_none(step_2: Path) -> None:
    assert feature_ranges(build(), TESTS, step_2 / "prompts.jsonl", (step_2 / "plain",)) == {}


def test_images_of_an_unknown_prompt_are_refused(painter: ContinuousLMM, step_2: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "prompts.jsonl", [Prompt("p0", "layout", "numeracy", TESTS[0].prompt, 0)])
    with pytest.raises(RecordError, match="prompt p1 is not in it"):
        feature_ranges(painter, TESTS, tmp_path / "prompts.jsonl", (step_2 / "plain",))
