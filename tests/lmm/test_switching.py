"""The loop with another implementation of its kernels: the same masks, the same numbers up to rounding.

What is drawn differs in the last bits at most, and what step 5 descends too. Triton runs in its interpreter where
there is no GPU.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from silmm import lmm as models
from silmm.align.kc_dpo import kc_dpo
from silmm.kernels._dispatch import OPS, READY, pick, state
from silmm.kernels.divdrop import mask_key
from silmm.lmm.interface import Sampling
from silmm.lmm.shapeworld.dream import diverse_dreams

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
PROMPTS = ["a red circle left of a blue square", "two green circles and one red square"]
IMPLS = ("reference", "cpp", "triton")
TOLERANCE = 1e-5  # relative norm, of features after four layers and of gradients after a whole model


@pytest.fixture(scope="module")
def policies() -> dict[str, models.LMM]:
    if not CHECKPOINTS.is_dir():
        pytest.skip("no base checkpoint to start from")
    return {kind: models.load(CHECKPOINTS / f"{kind}_seed0") for kind in ("discrete", "continuous")}


@pytest.fixture(params=IMPLS)
def impl(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if state(name) != READY:
        pytest.skip(f"{name}: {state(name)}")
    monkeypatch.setenv("SILMM_IMPL", name)
    assert pick("divdrop", "cpu").impl == pick("kc_dpo", "cpu").impl == name in OPS["selective_logps"]
    return name


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def drawn(policy: models.LMM) -> Tensor:
    return diverse_dreams(
        policy.model, policy.queries, policy._prefix(PROMPTS), policy.vocab.pad,
        keys_P=torch.tensor([mask_key(0, "images", 1, f"p{i}") for i in range(2)]),
        samples_PN=torch.tensor([[0, 7], [3, 1]]), drop=Sampling(rate=0.3, layers=2),
    )  # fmt: skip


def step(policy: models.LMM, feats: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradient of one KC-DPO step on features as chosen and rejected."""
    own = policy.features(PROMPTS)
    loss, _ = kc_dpo(own, own.detach() + 0.01, feats[:, 0], feats[:, 1], gamma=50.0)
    return loss.detach(), flat(torch.autograd.grad(loss, policy.parameters(), allow_unused=True))


def flat(gradients: tuple) -> Tensor:
    return torch.cat([g.flatten() for g in gradients if g is not None])


def test_features_and_step_of_the_continuous_lmm(
    policies: dict[str, models.LMM], impl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policies["continuous"]
    feats = drawn(policy)
    loss, gradient = step(policy, feats)
    monkeypatch.setenv("SILMM_IMPL", "reference")
    true = drawn(policy)
    true_loss, true_gradient = step(policy, feats)
    assert torch.equal(feats, true), "DivDrop has the same bits in every implementation"
    assert float(loss) == pytest.approx(float(true_loss), rel=TOLERANCE)
    assert relative(gradient, true_gradient) < TOLERANCE


def test_log_probs_of_the_discrete_lmm(
    policies: dict[str, models.LMM], impl: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policies["discrete"]
    tokens = np.random.default_rng(0).integers(0, policy.vocab.n_visual, (2, 36))

    def logps() -> tuple[Tensor, Tensor]:
        found = policy.token_logps(PROMPTS, tokens)
        return found.detach(), flat(torch.autograd.grad(found.sum(), policy.parameters(), allow_unused=True))

    values, gradient = logps()
    monkeypatch.setenv("SILMM_IMPL", "reference")
    true, true_gradient = logps()
    assert relative(values, true) < TOLERANCE and relative(gradient, true_gradient) < TOLERANCE
