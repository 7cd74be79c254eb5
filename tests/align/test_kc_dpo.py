"""KC-DPO: the paper's formula, its gradients, and what must not pass in silence."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from silmm.align.kc_dpo import SATURATED, gamma_of_spread, kc_dpo
from silmm.kernels.features import DISTANCES, POOLINGS, distance, pool

B, L, D = 3, 4, 5
SIDES = ("feats_BLD", "ref_feats", "chosen_feats", "rejected_feats")
COMBINATIONS = list(itertools.product(POOLINGS, DISTANCES))


def features(seed: int = 0, shape: tuple[int, ...] = (B, L, D)) -> dict[str, Tensor]:
    """Random float64 features of the four sides, the policy's with gradient."""
    g = torch.Generator().manual_seed(seed)
    sides = {name: torch.randn(*shape, generator=g, dtype=torch.float64) for name in SIDES}
    sides["feats_BLD"].requires_grad_()
    return sides


def call(sides: dict[str, Tensor], **options: object) -> tuple[Tensor, dict[str, Tensor]]:
    return kc_dpo(**{"gamma": 2.0, **sides, **options})


def near(value: object) -> object:
    return pytest.approx(value, rel=1e-12, abs=1e-12)


def test_pooling() -> None:
    feats = features()["feats_BLD"].detach()
    assert torch.equal(pool(feats, "avg"), feats.mean(1))
    assert torch.equal(pool(feats, "max"), feats.max(1).values)
    assert torch.equal(pool(feats, "none"), feats.reshape(B, L * D))
    assert torch.equal(pool(feats, "query"), feats)


def test_pooling_is_in_float32() -> None:
    ones = torch.ones(1, 4096, 2, dtype=torch.bfloat16)
    ones[:, 0] = 256  # in bfloat16, 256 + 1 = 256
    assert pool(ones, "avg").tolist() == [[(256 + 4095) / 4096] * 2]
    assert distance(ones, ones, "cosine").dtype == torch.float32


def test_distances() -> None:
    a, b = features()["ref_feats"][:, 0], features()["chosen_feats"][:, 0]
    square = ((a - b) ** 2).sum(1)
    expected = {
        "cosine": 1 - F.cosine_similarity(a, b),
        "euclidean": square.sqrt(),
        "squared_euclidean": square,
        "rbf": 1 - torch.exp(-square / (2 * 1.5**2)),
        "laplace": 1 - torch.exp(-square.sqrt() / 1.5),
    }
    for name in DISTANCES:
        torch.testing.assert_close(distance(a, b, name, 1.5), expected[name], rtol=1e-12, atol=1e-12)
        assert torch.equal(distance(a, b, name, 1.5), distance(b, a, name, 1.5))


def test_query_is_the_mean_of_the_distances_position_by_position() -> None:
    a, b = features()["ref_feats"], features()["chosen_feats"]
    for name in DISTANCES:
        each_LB = torch.stack([distance(a[:, i], b[:, i], name) for i in range(L)])
        torch.testing.assert_close(distance(pool(a, "query"), pool(b, "query"), name), each_LB.mean(0))


@pytest.mark.parametrize("name", DISTANCES)
def test_near_zero_no_digits_are_lost(name: str) -> None:
    """In float32, 1 - cos and 1 - exp would give 0 or noise here."""
    a = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    b = a + 1e-5 * torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(distance(a, b, name).double(), distance(a.double(), b.double(), name), rtol=2e-2, atol=0)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rows_and_zeros_have_distance_0_and_gradient_0(name: str, dtype: torch.dtype) -> None:
    a = features()["ref_feats"].to(dtype)
    a[0] = 0
    moving = a.clone().requires_grad_()
    out = distance(moving, a, name)
    out.sum().backward()
    assert out.tolist() == [0.0] * B
    assert moving.grad is not None and not moving.grad.any()  # nan would be true


def test_a_vector_without_direction_gives_no_gradient() -> None:
    zero = torch.zeros(1, 3, requires_grad=True)
    out = distance(zero, torch.ones(1, 3), "cosine")
    out.sum().backward()
    assert out.item() == pytest.approx(0.5)
    assert zero.grad is not None and not zero.grad.any()


@pytest.mark.parametrize(("pooling", "name"), COMBINATIONS)
def test_gradients(pooling: str, name: str) -> None:
    sides = features(shape=(2, 3, 4))
    options = {"pooling": pooling, "distance": name, "sigma": 2.0, "sft_weight": 0.5}

    def total(feats_BLD: Tensor) -> Tensor:
        return call({**sides, "feats_BLD": feats_BLD}, **options)[0]

    assert torch.autograd.gradcheck(total, (sides["feats_BLD"],))


@pytest.mark.parametrize(("pooling", "name"), COMBINATIONS)
def test_the_formula(pooling: str, name: str) -> None:
    sides = features()
    loss, metrics = call(sides, pooling=pooling, distance=name)
    h, hr, hw, hl = (pool(sides[side].detach(), pooling) for side in SIDES)
    k = lambda a, b: distance(a, b, name)  # noqa: E731
    z_B = 2.0 * (-k(h, hw) + k(hr, hw) + k(h, hl) - k(hr, hl))
    assert loss.item() == near((-torch.sigmoid(z_B).log()).mean().item())
    assert {name: value.item() for name, value in metrics.items()} == {
        "loss": near(loss.item()),
        "dpo_loss": near(loss.item()),
        "rewards/chosen": near(2 * (k(hr, hw) - k(h, hw)).mean().item()),
        "rewards/rejected": near(2 * (k(hr, hl) - k(h, hl)).mean().item()),
        "rewards/margins": near(z_B.mean().item()),
        "rewards/accuracies": (z_B > 0).double().mean().item(),
        "rewards/saturated": (z_B > SATURATED).double().mean().item(),
        "distance/chosen": near(k(h, hw).mean().item()),
        "distance/rejected": near(k(h, hl).mean().item()),
        "drift": near(k(h, hr).mean().item()),
    }


def test_squared_euclidean_without_pooling_is_equation_5() -> None:
    sides = features()
    h, hr, hw, hl = (sides[side].detach() for side in SIDES)
    frobenius = lambda x: torch.linalg.matrix_norm(x) ** 2  # noqa: E731
    z_B = -frobenius(h - hw) + frobenius(hr - hw) + frobenius(h - hl) - frobenius(hr - hl)
    loss, _ = call(sides, pooling="none", distance="squared_euclidean", gamma=0.1)
    assert loss.item() == near(-F.logsigmoid(0.1 * z_B).mean().item())


@pytest.mark.parametrize(("pooling", "name"), COMBINATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_2_where_policy_equals_reference(pooling: str, name: str, dtype: torch.dtype) -> None:
    sides = {side: x.detach().to(dtype) for side, x in features().items()}
    sides["feats_BLD"] = sides["ref_feats"].clone().requires_grad_()
    loss, metrics = call(sides, pooling=pooling, distance=name, gamma=15.6)
    assert loss.item() == -F.logsigmoid(torch.zeros(())).item() == pytest.approx(math.log(2), abs=1e-7)
    assert metrics["rewards/margins"].item() == metrics["drift"].item() == 0
    loss.backward()
    grad = sides["feats_BLD"].grad
    assert grad is not None and grad.isfinite().all() and grad.any()


def test_chosen_and_rejected_swapped() -> None:
    sides = features()
    swapped = {**sides, "chosen_feats": sides["rejected_feats"], "rejected_feats": sides["chosen_feats"]}
    one, other = call(sides)[1], call(swapped)[1]
    assert one["rewards/margins"].item() == -other["rewards/margins"].item() != 0
    assert one["rewards/accuracies"].item() == near(1 - other["rewards/accuracies"].item())


def test_moves_when_only_the_reference_moves() -> None:
    sides = features()
    before, _ = call(sides)
    closer = sides["ref_feats"] + 0.1 * (sides["chosen_feats"] - sides["ref_feats"])
    after, _ = call({**sides, "ref_feats": closer}, distance="cosine")
    assert after > before  # a reference nearer to the winner leaves the policy less to be proud of


def test_a_step_down_goes_to_the_chosen_and_from_the_rejected() -> None:
    sides = features()
    loss, before = call(sides)
    (gradient,) = torch.autograd.grad(loss, sides["feats_BLD"])
    _, after = call({**sides, "feats_BLD": sides["feats_BLD"].detach() - 0.1 * gradient})
    assert after["rewards/margins"] > before["rewards/margins"]


def test_batch_loss_is_the_mean_of_single_losses() -> None:
    sides = features()
    singles = [call({side: x[i : i + 1] for side, x in sides.items()}, sft_weight=3.0)[0] for i in range(B)]
    torch.testing.assert_close(call(sides, sft_weight=3.0)[0], torch.stack(singles).mean())


@pytest.mark.parametrize("name", ["cosine", "squared_euclidean"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_a_drift_can_win_is_set_by_the_spread(pooling: str, name: str) -> None:
    sides = {side: x[:1].detach() for side, x in features().items()}
    options = {"pooling": pooling, "distance": name, "gamma": 1.0}
    spread = distance(*(pool(sides[side], pooling) for side in ("chosen_feats", "rejected_feats")), name)
    metrics = call(sides, **options)[1]
    most = 2 * (metrics["drift"] * spread).sqrt()
    assert 0 < abs(metrics["rewards/margins"]) <= most
    if name == "squared_euclidean":  # the bound is reached: H moved along Hw - Hl
        along = sides["ref_feats"] + 0.3 * (sides["chosen_feats"] - sides["rejected_feats"])
        metrics = call({**sides, "feats_BLD": along}, **options)[1]
        if pooling != "max":  # which is not linear
            assert metrics["rewards/margins"].item() == near(2 * (metrics["drift"] * spread).sqrt().item())


def test_saturated_pairs_are_counted() -> None:
    sides = features()
    singles = [{side: x[i : i + 1] for side, x in sides.items()} for i in range(B)]
    margins = [call(single, gamma=1.0)[1]["rewards/margins"].item() for single in singles]
    assert min(margins) < 0 < max(margins)  # one that is lost is not saturated, however large gamma
    gamma = SATURATED / max(margins)
    assert call(sides, gamma=1.01 * gamma)[1]["rewards/saturated"].item() == near(1 / B)
    assert call(sides, gamma=0.99 * gamma)[1]["rewards/saturated"].item() == 0
    assert 1 / (1 + math.exp(SATURATED)) < 0.05  # what is left of such a pair's gradient


@pytest.mark.parametrize("pooling", POOLINGS)
def test_fixed_features_may_come_pooled(pooling: str) -> None:
    sides = features()
    pooled = {side: x if side == "feats_BLD" else pool(x, pooling) for side, x in sides.items()}
    assert torch.equal(call(sides, pooling=pooling)[0], call(pooled, pooling=pooling)[0])


def test_sft_is_the_anchor_alone_at_the_same_weight() -> None:
    sides = features()
    alone, metrics = call(sides, loss="sft", sft_weight=10.0, distance="euclidean")
    both, without = (call(sides, sft_weight=weight, distance="euclidean")[0] for weight in (10.0, 0.0))
    assert alone.item() == near(10 * metrics["distance/chosen"].item()) == near((both - without).item())
    assert metrics["dpo_loss"].item() == near(without.item())
    (gradient,) = torch.autograd.grad(alone, sides["feats_BLD"])
    (moved,) = torch.autograd.grad(
        call({**sides, "rejected_feats": sides["rejected_feats"] + 1}, loss="sft", sft_weight=10.0)[0],
        sides["feats_BLD"],
    )
    (other,) = torch.autograd.grad(call(sides, loss="sft", sft_weight=10.0)[0], sides["feats_BLD"])
    assert gradient.any() and torch.equal(moved, other)  # the loser is measured, never descended


def test_gamma_of_spread() -> None:
    assert gamma_of_spread(0.2) == pytest.approx(15)
    assert gamma_of_spread(0.2, 5.0) == pytest.approx(25)
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"spread: expected a finite number above 0, given {wrong}"):
            gamma_of_spread(wrong)


GOOD = {side: x.detach() for side, x in features().items()}
NAN = GOOD["ref_feats"].clone()
NAN[1, 2, 3] = math.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "sum"}, "pooling: expected avg, max, none or query, given 'sum'"),
        ({"distance": "l2"}, "distance: expected cosine, .* or laplace, given 'l2'"),
        ({"sigma": 0.0}, "sigma: expected a finite number above 0, given 0.0"),
        ({"gamma": -1.0}, "gamma: expected a finite number above 0, given -1.0"),
        ({"gamma": math.nan}, "gamma: .* given nan"),
        ({"loss": "hinge"}, "loss is 'hinge': choose one of sigmoid, sft"),
        ({"sft_weight": -1.0}, "sft_weight: expected a finite number from 0, given -1.0"),
        ({"loss": "sft"}, "sft_weight: expected a finite number above 0 with loss 'sft'.* given 0.0"),
        ({"feats_BLD": GOOD["feats_BLD"][0]}, r"feats: expected floating \[B, L, D\].* given float64 \[4, 5\]"),
        ({"feats_BLD": GOOD["feats_BLD"][:0]}, r"feats: .* given float64 \[0, 4, 5\]"),
        ({"feats_BLD": GOOD["feats_BLD"].long()}, r"feats: .* given int64 \[3, 4, 5\]"),
        ({"feats_BLD": NAN}, r"feats: expected finite numbers, given nan at \[1, 2, 3\]"),
        ({"rejected_feats": NAN / 0}, r"rejected_feats: expected finite numbers, given -?(inf|nan) at \[0, 0, 0\]"),
        ({"ref_feats": NAN[:2]}, r"ref_feats: expected floating \[3, 4, 5\] or \[3, 5\], given float64 \[2, 4, 5\]"),
        ({"chosen_feats": NAN[:, :2]}, r"chosen_feats: .* given float64 \[3, 2, 5\]"),
        ({"chosen_feats": NAN[:, 0], "pooling": "none"}, r"chosen_feats: .* or \[3, 20\], given float64 \[3, 5\]"),
        ({"chosen_feats": NAN[:, 0], "pooling": "query"}, r"chosen_feats: .* \[3, 4, 5\], given .* \[3, 5\]"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(GOOD, **changes)


@pytest.mark.parametrize("side", SIDES[1:])
def test_fixed_features_with_gradient_are_refused(side: str) -> None:
    sides = features()
    sides[side].requires_grad_()
    with pytest.raises(ValueError, match=f"{side}: expected features without gradient"):
        call(sides)


def test_distances_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"distance: expected two tensors of one shape .* float32 \[2, 3\].* \[3, 3\]"):
        distance(torch.zeros(2, 3), torch.zeros(3, 3), "cosine")
    with pytest.raises(ValueError, match=r"feats: expected floating \[B, L, D\], given float32 \[2, 3\]"):
        pool(torch.zeros(2, 3), "avg")
