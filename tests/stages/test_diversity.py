"""Strategies of diversity: what is drawn, with which noise, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from silmm import lmm as models
from silmm.errors import InputError
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld.continuous import ContinuousLMM
from silmm.records import DIVERSITY, read_table
from silmm.settings import Images
from silmm.shapeworld import exam
from silmm.shapeworld.language import parse_prompt, units
from silmm.shapeworld.oracle import judge, read
from silmm.shapeworld.rewording import wordings
from silmm.stages import diversity
from tests.lmm.conftest import build

BASE = Path(__file__).parents[2] / "checkpoints/continuous_seed0"
STEP_2 = Images(n=3, rate=0.15, layers=4, noise="constant", noises=2)
DROP = Sampling(rate=0.15, layers=4, noise="prompt")


@pytest.fixture(scope="module")
def policy() -> ContinuousLMM:
    if not BASE.is_dir():
        pytest.skip("no base checkpoint")
    loaded = models.load(BASE)
    assert isinstance(loaded, ContinuousLMM)
    return loaded


@pytest.fixture(scope="module")
def columns(policy: ContinuousLMM) -> dict[str, list]:
    return diversity.measure(policy, exam.prompts(8), 0, 3, DROP, 1.35)


def of(columns: dict[str, list], strategy: str, name: str) -> list:
    return [v for s, v in zip(columns["strategy"], columns[name], strict=True) if s == strategy]


def test_every_strategy_draws_every_prompt(columns: dict[str, list]) -> None:
    names = list(dict.fromkeys(columns["strategy"]))
    assert names == ["none", "rephrase", "explain", "noisy", "divdrop"]
    for strategy in names:
        samples = range(1 if strategy == "none" else 3)
        keys = zip(of(columns, strategy, "prompt_id"), of(columns, strategy, "sample"), strict=True)
        assert list(keys) == [(f"e{i:05d}", k) for i in range(8) for k in samples]


def test_texts_are_the_strategy(columns: dict[str, list]) -> None:
    tests = exam.prompts(8)
    for strategy in ("none", "noisy", "divdrop"):
        assert set(of(columns, strategy, "text")) == {t.prompt for t in tests}
    reworded = of(columns, "rephrase", "text")
    for i, test in enumerate(tests):
        mine = reworded[3 * i : 3 * i + 3]
        assert len(set(mine)) == 3 and set(mine) <= set(wordings(test.spec))
    for text, prompt in zip(of(columns, "explain", "text"), np.repeat([t.prompt for t in tests], 3), strict=True):
        assert len(text.split()) > len(prompt.split())


def test_few_wordings_come_in_turn() -> None:
    spec = parse_prompt("a red circle in front of a blue square")
    assert spec is not None
    test = exam.EvalPrompt("e0", "spatial_3d", "a red circle in front of a blue square", spec)
    texts = diversity._texts("rephrase", test, [(0, "diversity", "e0", k) for k in range(10)])
    assert set(texts) == set(wordings(spec)) and texts[:4] == texts[4:8]


def test_samples_differ_by_the_strategy_alone(policy: ContinuousLMM, columns: dict[str, list]) -> None:
    assert set(of(columns, "none", "distance")) == {0.0}
    for strategy in ("rephrase", "explain", "noisy", "divdrop"):
        assert min(of(columns, strategy, "distance")) > 0
    one = policy.draw(["a red circle and a blue square"], [[(0, "diversity", "e", 0)]], diversity.PLAIN)
    quiet = policy.draw_noisy(["a red circle and a blue square"], [[(0, "diversity", "e", k) for k in (0, 1)]], 0.0)
    assert one.feats_PNQD is not None and quiet.feats_PNQD is not None
    for k in (0, 1):
        np.testing.assert_allclose(quiet.feats_PNQD[0, k], one.feats_PNQD[0, 0], atol=1e-5)
        np.testing.assert_array_equal(quiet.tokens_PNL[0, k], one.tokens_PNL[0, 0])  # the same decoder noise


def test_the_prompt_itself_is_judged(policy: ContinuousLMM, columns: dict[str, list]) -> None:
    tests = exam.prompts(8)
    keys = [[(0, "diversity", t.id, k) for k in range(3)] for t in tests]
    tokens = policy.draw([t.prompt for t in tests], keys, DROP).tokens_PNL
    scenes = read(policy.render(tokens.reshape(24, -1)))
    held = [np.mean([judge(u, s) for u in units(tests[i // 3].spec)]) for i, s in enumerate(scenes)]
    assert of(columns, "divdrop", "held") == held
    assert of(columns, "divdrop", "whole") == [h == 1 for h in held]
    for text, share in zip(of(columns, "explain", "text"), of(columns, "explain", "held"), strict=True):
        assert text not in {t.prompt for t in tests} and 0 <= share <= 1


def test_distances_are_mean_cosines() -> None:
    feats = np.zeros((1, 3, 2, 2), np.float32)
    feats[0, :, :, 0], feats[0, 2] = 2.0, (0.0, 3.0)  # two along x, one along y
    np.testing.assert_allclose(diversity.distances(feats), [[0.5, 0.5, 1.0]], atol=1e-6)


@pytest.mark.usefixtures("policy")
def test_the_same_table_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "PROMPTS", 1)
    for name in "ab":
        diversity.run(STEP_2, ckpt=BASE, seed=0, out=tmp_path / f"{name}.parquet", strength=1.35)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert read_table(tmp_path / "a.parquet", DIVERSITY).num_rows == 8 * (1 + 4 * 3)


def test_a_discrete_lmm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda folder: build())
    with pytest.raises(InputError, match="its images are discrete: the strategies are for an LMM with dream queries"):
        diversity.run(STEP_2, ckpt=tmp_path, seed=0, out=tmp_path / "x.parquet", strength=1.0)
    assert list(tmp_path.iterdir()) == []
