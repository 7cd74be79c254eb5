"""The trainer on a tiny LMM: log 2 at the start, learning, resuming to the same bytes, batches that can be remade."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from silmm.align import objectives, trainer
from silmm.settings import Align
from tests.lmm.conftest import build

SETTINGS = Align(batch=4, epochs=3, lr=1e-3, sft_weight=1.0)
KEY = (0, "align", 1)


@pytest.fixture(scope="module")
def policy():  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    return build()


@pytest.fixture
def data(policy) -> objectives.Preferences:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    prompts = ["a red circle and a blue square", "two red squares and one blue circle"] * 5
    tokens = rng.integers(0, policy.vocab.n_visual, (2, 10, policy.length))
    texts = trainer.own_texts([("color", prompts[0])], [(prompts[0], "is there a red circle ?")])
    return objectives.Preferences(prompts, tokens[0], tokens[1], texts)


def fit(policy, data, start=0, optimizer=None, stop=None):  # type: ignore[no-untyped-def]
    """Train a copy; returns (copy, optimizer, metrics)."""
    policy = copy.deepcopy(policy)
    reference = objectives.reference_logps(policy, data)
    optimizer = trainer.new_optimizer(policy, SETTINGS)
    log: list[dict[str, float]] = []
    trainer.train(
        policy, data, reference, SETTINGS, key=KEY, start=start, optimizer=optimizer,
        after_step=lambda step, metrics: log.append(metrics),
    )  # fmt: skip
    return policy, optimizer, log


def test_first_loss_is_log_2_and_training_learns(policy, data) -> None:  # type: ignore[no-untyped-def]
    _, _, log = fit(policy, data)
    assert log[0]["dpo_loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert log[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert log[-1]["rewards/margins"] > 0.1
    assert log[-1]["dpo_loss"] < log[0]["dpo_loss"]


def test_reference_matters(policy, data) -> None:  # type: ignore[no-untyped-def]
    reference = objectives.reference_logps(policy, data)
    moved = objectives.TokenReference(reference.chosen_M + 5, reference.rejected_M)
    losses = []
    for ref in (reference, moved):
        own = copy.deepcopy(policy)
        losses.append(
            trainer.train_step(own, trainer.new_optimizer(own, SETTINGS), data, ref, SETTINGS, 0, KEY)["dpo_loss"]
        )
    assert losses[1] > losses[0] + 0.1


def test_every_pair_is_seen_once_an_epoch() -> None:
    for pairs in (1, 4, 5, 10):
        steps = trainer.steps_of(SETTINGS, pairs)
        seen = np.concatenate([trainer.batch_of(SETTINGS, pairs, s, KEY) for s in range(steps)])
        assert (np.bincount(seen, minlength=pairs) == SETTINGS.epochs).all()


def test_same_key_same_weights(policy, data) -> None:  # type: ignore[no-untyped-def]
    one, other = fit(policy, data)[0], fit(policy, data)[0]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
