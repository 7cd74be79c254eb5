"""Gradients summed up from parts of a batch: those of the whole batch to float32 rounding, whatever the objective."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from silmm.align import objectives, trainer
from silmm.lmm.shapeworld.lmm import DiscreteLMM
from silmm.settings import Align
from tests.lmm.conftest import build

KEY = (0, "align", 1)
PROMPTS = [
    "a red circle and a blue square",
    "two red squares and one blue circle",
    "a striped circle plus a solid square",
]
TEXTS = trainer.own_texts([("color", PROMPTS[0])], [(PROMPTS[0], "is there a red circle ?")])
PAIRS = 5  # two parts of two, and one of one


class Features(torch.nn.Module):
    """A continuous policy: a table of features of prompts, through one layer."""

    world, images, length, layers = "shapeworld", "continuous", 1, 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(len(PROMPTS), 4, 8))
        self.layer = torch.nn.Linear(8, 8)
        self.seen: list[int] = []

    def features(self, prompts: list[str]) -> torch.Tensor:
        self.seen.append(len(prompts))
        return self.layer(self.table[[PROMPTS.index(p) for p in prompts]]).tanh()

    def text_nll(self, pairs: list[tuple[str, str, str]]) -> torch.Tensor:
        return self.layer.weight.square().mean() * len(pairs)

    write = ask = draw = render = answer = look = save = learners = staticmethod(pytest.fail)  # nothing else is called


class Seen:
    """A discrete policy that notes how many sequences each forward pass has."""

    def __init__(self, lmm: DiscreteLMM) -> None:
        self.lmm, self.seen = lmm, list[int]()

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self.lmm, name)

    def token_logps(self, prompts: list[str], tokens_BL: np.ndarray) -> torch.Tensor:
        self.seen.append(len(prompts))
        return self.lmm.token_logps(prompts, tokens_BL)


@pytest.fixture(scope="module")
def discrete() -> DiscreteLMM:
    torch.set_num_threads(1)
    return build()


def case(kind: str, discrete: DiscreteLMM):  # type: ignore[no-untyped-def]
    """A policy that has moved away from its reference, and the pairs."""
    rng = np.random.default_rng(0)
    policy = Seen(copy.deepcopy(discrete)) if kind == "discrete" else Features()
    shape = (2, PAIRS, policy.length) if kind == "discrete" else (2, PAIRS, 4, 8)
    sides = rng.integers(0, 200, shape) if kind == "discrete" else rng.normal(size=shape).astype(np.float32)
    data = objectives.Preferences([PROMPTS[i % 3] for i in range(PAIRS)], sides[0], sides[1], TEXTS)
    return policy, data


def stepped(kind: str, settings: Align, discrete: DiscreteLMM):  # type: ignore[no-untyped-def]
    """Gradients and metrics of one step, and the sizes of the forward passes of reference and step."""
    policy, data = case(kind, discrete)
    reference = objectives.reference_of(policy, data, settings)
    of_reference, policy.seen = policy.seen, []
    with torch.no_grad():
        for p in policy.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    metrics = trainer.train_step(policy, optimizer, data, reference, settings, 0, KEY)
    return [p.grad for p in policy.parameters()], metrics, of_reference, policy.seen


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
@pytest.mark.parametrize("changes", [{}, {"sft_weight": 2.0, "loss": "sft"}, {"text_weight": 0.0}])
def test_parts_give_the_gradients_and_metrics_of_the_batch(kind: str, changes: dict, discrete: DiscreteLMM) -> None:
    settings = {"batch": 8, "sft_weight": 1.0, "text_weight": 0.5, **changes}
    whole, metrics, of_reference, sizes = stepped(kind, Align(**settings), discrete)
    parts, part_metrics, part_of_reference, part_sizes = stepped(kind, Align(**settings, rows=2), discrete)
    sides = 2 if kind == "discrete" else 1  # chosen and rejected are sequences of their own
    assert (of_reference, sizes) == ([PAIRS] * sides, [sides * PAIRS])
    assert (part_of_reference, part_sizes) == ([2, 2, 1] * sides, [2 * sides, 2 * sides, sides])
    assert part_metrics.keys() == metrics.keys()
    assert part_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-5)
    assert metrics["rewards/margins"] != 0  # the policy has moved, so there is something to get wrong
    assert any(g is not None and g.abs().max() > 1e-3 for g in whole)
    for one, other in zip(whole, parts, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5 * float(one.abs().max()) + 1e-7)


@pytest.mark.parametrize("rows", [PAIRS, 100])
def test_rows_that_hold_the_batch_change_no_byte(rows: int, discrete: DiscreteLMM) -> None:
    whole, metrics, *_ = stepped("discrete", Align(batch=8), discrete)
    same, same_metrics, *_ = stepped("discrete", Align(batch=8, rows=rows), discrete)
    assert same_metrics == metrics
    assert all(torch.equal(a, b) for a, b in zip(whole, same, strict=True))
