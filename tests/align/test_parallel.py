"""Two processes that talk by gloo train as one does: ShapeWorld's LMMs whole, Janus by LoRA; DDP and FSDP."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch

from silmm import lmm as models
from silmm.align import parallel, trainer
from silmm.align.launch import together
from silmm.align.objectives import Preferences
from silmm.align.team import ALONE, Team
from silmm.lmm.hf.checkpoint import adopt
from silmm.lmm.janus import tiny
from silmm.settings import Align
from tests.align.together import Case, train_all, trained
from tests.lmm.conftest import build, build_painter

PROMPTS = ["a red circle and a blue square", "two red squares and one blue circle", "a striped circle"]
PAIRS = 7  # batches of five, in which one pair is left over, and of two
SETTINGS = Align(batch=5, rows=2, epochs=2, lr=5e-3, sft_weight=1.0, text_weight=0.5)
TEXTS = trainer.own_texts([("color", PROMPTS[0])], [(PROMPTS[0], "is there a red circle ?")])


def preferences(shape: tuple[int, ...], below: int = 0) -> Preferences:
    """Random pairs of tokens below a number, or of features."""
    rng = np.random.default_rng(0)
    size = (2, PAIRS, *shape)
    sides = rng.integers(0, below, size) if below else rng.normal(size=size).astype(np.float32)
    return Preferences([PROMPTS[i % 3] for i in range(PAIRS)], sides[0], sides[1], TEXTS)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("together")
    discrete, continuous = build(), build_painter()
    for name, lmm in {"discrete": discrete, "continuous": continuous}.items():
        (folder / name).mkdir()
        lmm.save(folder / name)
    tiny.build(folder / "weights")
    for name, dtype in {"janus": "float32", "mixed": "bfloat16"}.items():
        adopt("janus", {"model": folder / "weights"}, folder / name, rank=2, alpha=4, dtype=dtype, rows=4, seed=0)
    length = models.load(folder / "janus").length  # type: ignore[attr-defined]
    features = tuple(continuous.features(PROMPTS[:1]).shape[1:])
    wordless = dataclasses.replace(SETTINGS, text_weight=0.0, gamma=3.0)  # then some weights have no gradient
    ddp = {
        "discrete": Case(folder / "discrete", preferences((discrete.length,), 200), SETTINGS),
        "continuous": Case(folder / "continuous", preferences(features), wordless),
        "janus": Case(folder / "janus", preferences((length,), tiny.CODES), SETTINGS),
    }
    fsdp = {
        f"{name} fsdp": case._replace(settings=dataclasses.replace(case.settings, parallel="fsdp"))
        for name, case in ddp.items()
    }
    return ddp | fsdp | {"mixed fsdp": fsdp["janus fsdp"]._replace(ckpt=folder / "mixed")}


@pytest.fixture(scope="module")
def of_two(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("of_two") / "found.pt"
    together(partial(train_all, cases, out), 2)
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
@pytest.mark.parametrize("name", ["discrete", "continuous", "janus"])
def test_two_processes_train_as_one(name: str, kind: str, cases: dict[str, Case], of_two: dict) -> None:
    alone, two = trained(cases[name]), of_two[name if kind == "ddp" else f"{name} {kind}"]
    assert torch.equal(alone["reference"], two["reference"])
    assert len(alone["log"]) == len(two["log"]) == 4
    for one, other in zip(alone["log"], two["log"], strict=True):
        assert one.keys() == other.keys()
        assert other == pytest.approx(one, rel=1e-3, abs=1e-4)
    moved = 0.0
    start = models.load(cases[name].ckpt).parameters()
    for before, one, other in zip(start, alone["weights"], two["weights"], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)
        moved = max(moved, float((one - before).detach().abs().max()))
    assert moved > 4e-3  # so there was something to get wrong
    assert two["held"] == pytest.approx(alone["held"] * (1 if kind == "ddp" else 0.5), rel=0.01)  # whole rows


def test_frozen_weights_in_bfloat16_are_shared_out_with_lora_in_float32(cases: dict[str, Case], of_two: dict) -> None:
    alone, two = trained(cases["mixed fsdp"]), of_two["mixed fsdp"]
    for one, other in zip(alone["log"], two["log"], strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-2)  # bfloat16 has three digits
    assert len({weight.dtype for weight in two["weights"]}) == 1 and two["weights"][0].dtype == torch.float32


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("most", [0, 1, 4])
@pytest.mark.parametrize("pairs", [1, 5, 32])
def test_every_pair_counts_once_and_no_process_is_idle(size: int, most: int, pairs: int) -> None:
    rows = np.arange(pairs) + 10
    dealt = [list(parallel.waves(rows, Team(rank, size), most)) for rank in range(size)]
    assert len({tuple(len(wave.rows) for wave in own) for own in dealt}) == 1  # as many passes, each as large
    assert sorted(row for own in dealt for wave in own if wave.share for row in wave.rows) == rows.tolist()
    assert sum(wave.share for own in dealt for wave in own) == pytest.approx(1)
    assert all(len(wave.rows) <= (most or pairs) for own in dealt for wave in own)


def test_one_process_needs_nobody() -> None:
    blocks = ["a", "b", "c"]
    assert ALONE.joined(ALONE.own(blocks)) == blocks and ALONE.agreed(True) and not ALONE.agreed(False)
