"""The losses against TRL's arithmetic, and the traps that other projects fell into."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from silmm.align.kc_dpo import kc_dpo
from silmm.align.losses import LOSSES, dpo, preference_loss, sequence_logps, sft
from silmm.kernels import selective_logps
from silmm.settings import require_all

# Made once from TRL's own trainer: see make_trl_golden.py beside it.
GOLDEN = json.loads(Path(__file__).with_name("trl_golden.json").read_text())


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pairs(n: int = 4, tokens: int = 6, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random float64 arguments of `preference_loss`, the policy's with gradient."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    return {
        "chosen_BT": draw(n, tokens).sub(2).requires_grad_(),
        "rejected_BT": draw(n, tokens).sub(2).requires_grad_(),
        "ref_chosen_B": draw(n) - 2 * tokens,
        "ref_rejected_B": draw(n) - 2 * tokens,
    }


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"beta{c['beta']}-sft{c['sft_weight']}")
def test_loss_and_metrics_equal_trl(case: dict) -> None:
    stored = {name: tensor(value) for name, value in GOLDEN["inputs"].items()}
    loss, metrics = preference_loss(
        stored["chosen"],
        stored["rejected"],
        stored["ref_chosen"],
        stored["ref_rejected"],
        beta=case["beta"],
        sft_weight=case["sft_weight"],
        chosen_mask_BT=stored["chosen_mask"],
        rejected_mask_BT=stored["rejected_mask"],
    )
    for name, expected in case["expected"].items():
        assert metrics[name].item() == pytest.approx(expected, rel=1e-12, abs=1e-15), name
    assert loss.item() == metrics["loss"].item()


def test_log_probs_of_tokens_equal_trl() -> None:
    """With the unit matrix as head, hidden states are logits."""
    stored = GOLDEN["selective"]
    logits = tensor(stored["logits"])
    ours = selective_logps(logits, torch.eye(logits.shape[-1]).double(), torch.tensor(stored["ids"]))
    torch.testing.assert_close(ours, tensor(stored["expected"]), rtol=1e-12, atol=1e-14)


def test_log_2_where_policy_equals_reference() -> None:
    args = pairs()
    args["ref_chosen_B"] = args["chosen_BT"].sum(1).detach()
    args["ref_rejected_B"] = args["rejected_BT"].sum(1).detach()
    loss, metrics = preference_loss(**args, beta=0.2)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-12)
    assert metrics["rewards/margins"].item() == pytest.approx(0, abs=1e-12)


def test_moves_when_only_the_reference_moves() -> None:
    args = pairs()
    before, _ = preference_loss(**args)
    args["ref_chosen_B"] = args["ref_chosen_B"] + 1
    after, _ = preference_loss(**args)
    assert after > before  # a reference that likes the winner more leaves the policy less to be proud of


def test_a_reference_with_gradient_is_refused() -> None:
    args = pairs()
    args["ref_chosen_B"].requires_grad_()
    with pytest.raises(ValueError, match="no_grad"):
        preference_loss(**args)


def test_batch_loss_is_the_mean_of_single_losses() -> None:
    args = pairs()
    whole, _ = preference_loss(**args, sft_weight=3.0)
    singles = [preference_loss(**{k: v[i : i + 1] for k, v in args.items()}, sft_weight=3.0)[0] for i in range(4)]
    torch.testing.assert_close(whole, torch.stack(singles).mean(), rtol=1e-12, atol=0)
    margins = (args["chosen_BT"].sum(1) - args["ref_chosen_B"]) - (args["rejected_BT"].sum(1) - args["ref_rejected_B"])
    inside = -torch.nn.functional.logsigmoid(0.2 * margins.mean())  # the trap: another number altogether
    assert abs(preference_loss(**args, beta=0.2)[0] - inside) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_loss_and_gradient_at_margin_minus_200(dtype: torch.dtype) -> None:
    policy = torch.full((1,), -200.0, dtype=dtype, requires_grad=True)
    zero = torch.zeros(1, dtype=dtype)
    loss = dpo(policy, zero, zero, zero, beta=1.0)
    loss.sum().backward()
    assert loss.item() == pytest.approx(200.0)
    assert policy.grad is not None
    assert policy.grad.item() == pytest.approx(-1.0)


def test_gradients() -> None:
    args = pairs(n=3, tokens=4)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])

    def total(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
        references = {k: v for k, v in args.items() if k.startswith("ref")}
        return preference_loss(
            chosen, rejected, **references, beta=0.7, sft_weight=2.0, chosen_mask_BT=mask, rejected_mask_BT=mask.flip(0)
        )[0]

    assert torch.autograd.gradcheck(total, (args["chosen_BT"], args["rejected_BT"]))


def test_beta_scales_the_margin_and_the_rewards() -> None:
    args = pairs()
    sides = (args["chosen_BT"].sum(1), args["rejected_BT"].sum(1), args["ref_chosen_B"], args["ref_rejected_B"])
    doubled = dpo(*(2 * side for side in sides), beta=0.1)
    torch.testing.assert_close(dpo(*sides, beta=0.2), doubled, rtol=1e-12, atol=0)
    small, large = preference_loss(**args, beta=0.1)[1], preference_loss(**args, beta=0.3)[1]
    for name in ("rewards/chosen", "rewards/rejected", "rewards/margins"):
        assert large[name].item() == pytest.approx(3 * small[name].item())
    assert preference_loss(**args, beta=0.0)[0].item() == pytest.approx(math.log(2))


def test_sft_is_the_anchor_alone_at_the_same_weight() -> None:
    args = pairs()
    alone, metrics = preference_loss(**args, loss="sft", sft_weight=10.0)
    both, _ = preference_loss(**args, loss="sigmoid", sft_weight=10.0)
    without, _ = preference_loss(**args, loss="sigmoid", sft_weight=0.0)
    torch.testing.assert_close(alone, both - without, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(alone, 10 * sft(args["chosen_BT"]).mean(), rtol=1e-12, atol=0)
    alone.backward()
    assert args["rejected_BT"].grad is None  # the loser is measured, never descended
    assert metrics["dpo_loss"].item() == pytest.approx(without.item())


def test_anchor_weighs_sequences_and_not_tokens() -> None:
    logps = tensor([[-1.0, -1.0, -1.0, -1.0], [-3.0, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
    assert sft(logps, mask).tolist() == [1.0, 3.0]  # pooled over tokens it would be 7/5


def test_masked_positions_never_count() -> None:
    logps = tensor([[-1.0, -math.inf], [-2.0, math.nan]]).requires_grad_()
    mask = torch.tensor([[1, 0], [1, 0]])
    assert sequence_logps(logps, mask).tolist() == [-1.0, -2.0]
    sft(logps, mask).sum().backward()
    assert logps.grad is not None
    assert logps.grad.tolist() == [[-1.0, 0.0], [-1.0, 0.0]]
    assert sft(logps.detach(), torch.zeros(2, 2)).tolist() == [0.0, 0.0]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"'hinge'.*sigmoid, sft"):
        preference_loss(**pairs(), loss="hinge")
    with pytest.raises(ValueError, match="mask"):
        sequence_logps(torch.zeros(2, 3), torch.ones(2, 2))


def test_an_anchor_alone_of_no_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="sft_weight is 0.0: must be above 0 with loss 'sft'"):
        preference_loss(**pairs(), loss="sft", sft_weight=0.0)


def test_a_name_without_an_implementation_cannot_be() -> None:
    with pytest.raises(RuntimeError, match="align.loss: hinge, sft: must be both"):
        require_all("align", "loss", ("sigmoid", "hinge"))


def test_another_loss_serves_tokens_and_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """What docs/tutorial.md says: one function of a pair's logits. Values by hand; gradients by the chain rule."""
    monkeypatch.setitem(LOSSES, "hinge", lambda logits_B: torch.relu(1 - logits_B))
    args = pairs()
    loss, metrics = preference_loss(**args, loss="hinge", beta=0.2, sft_weight=3.0)
    chosen_B, rejected_B = args["chosen_BT"].sum(1), args["rejected_BT"].sum(1)
    margins_B = 0.2 * (chosen_B - args["ref_chosen_B"] - rejected_B + args["ref_rejected_B"])
    by_hand = [max(0.0, 1 - x) for x in margins_B.tolist()]
    anchor = -args["chosen_BT"].mean().item()
    assert loss.item() == pytest.approx(sum(by_hand) / 4 + 3 * anchor, abs=1e-12)
    assert metrics["dpo_loss"].item() == pytest.approx(sum(by_hand) / 4, abs=1e-12)
    (slope_BT,) = torch.autograd.grad(loss, args["rejected_BT"])
    expected_B = torch.tensor([0.2 / 4 if x > 0 else 0.0 for x in by_hand]).double()
    torch.testing.assert_close(slope_BT, expected_B[:, None].expand_as(slope_BT))

    feats, *fixed = torch.randn(4, 3, 2, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    h = feats.requires_grad_()
    loss, metrics = kc_dpo(h, *fixed, gamma=2.0, loss="hinge", sft_weight=0.5)
    vectors = [h.mean(1), *(x.mean(1) for x in fixed)]
    k = [1 - torch.cosine_similarity(vectors[a], vectors[b]) for a, b in ((0, 2), (0, 3), (1, 2), (1, 3))]
    margin_B = 2.0 * (-k[0] + k[2] + k[1] - k[3])
    expected = torch.relu(1 - margin_B).mean() + 0.5 * k[0].mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, h)[0], torch.autograd.grad(expected, h)[0])
    assert metrics["rewards/margins"].item() == pytest.approx(margin_B.mean().item())
