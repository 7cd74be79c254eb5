"""`kc_dpo`: every implementation against the definition in float64; what near and equal features must give."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import runpy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from silmm.align import losses
from silmm.kernels import kc_dpo
from silmm.kernels.features import pool
from silmm.kernels.kc_dpo import FAST_DISTANCES, FAST_POOLINGS, LOSSES, Distances
from tests.kernels.accuracy import backends, relative_error

EAGER = Path(__file__).parents[2] / "bench" / "eager_kc_dpo.py"
BACKENDS = backends("kc_dpo")
CPP = [b for b in BACKENDS if "cpp" in b.id]
CASES = list(itertools.product(FAST_POOLINGS, FAST_DISTANCES))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((4, 8, 64), (3, 5, 7), (1, 1, 2), (2, 1, 33), (2, 9, 1031))  # (B, L, D)
FLOOR = 5e-7
Sides = list[Tensor]


def features(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0) -> Sides:
    """H, Hr, Hw, Hl."""
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=g).to(device, dtype) for _ in range(4)]


def gamma_for(distance: str, width: int) -> float:
    """Such that the sigmoid is at work."""
    return {"cosine": 2.0, "euclidean": 1.0, "squared_euclidean": 2.0 / width}[distance]


def run(sides: Sides, *, upstream: float = 1.0, **options: object) -> tuple[Tensor, Distances, Tensor]:
    """Loss, distances, and the gradient of H times `upstream`."""
    h = sides[0].detach().requires_grad_()
    loss, distances = kc_dpo(h, *sides[1:], **options)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss * upstream, h)
    return loss.detach(), distances, gradient


def errors(sides: Sides, **options: object) -> dict[str, tuple[float, float]]:
    """By loss, distances, gradient: the error of the implementation and that of the reference in the same dtype."""
    true = run([x.double() for x in sides], **{**options, "impl": "reference"})
    both = (run(sides, **options), run(sides, **{**options, "impl": "reference"}))
    ours, theirs = ((relative_error(a, b) for a, b in zip(flat(x), flat(true), strict=True)) for x in both)
    return dict(zip(("loss", "distances", "gradient"), zip(ours, theirs, strict=True), strict=True))


def flat(result: tuple[Tensor, Distances, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return result[0], torch.stack(tuple(result[1])), result[2]


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize(("pooling", "distance"), CASES)
def test_errs_at_most_twice_as_much_as_the_reference(impl: str, device: str, pooling: str, distance: str) -> None:
    shapes = SHAPES if impl != "triton" or device == "cuda" else SHAPES[1:2]
    for shape, dtype, loss in itertools.product(shapes, DTYPES, LOSSES):
        if len(shapes) == 1 and loss == "sft":
            continue  # the interpreter is slow
        options = {"gamma": gamma_for(distance, shape[2]), "pooling": pooling, "distance": distance, "loss": loss}
        found = errors(features(shape, dtype, device), **options, sft_weight=0.3, impl=impl, upstream=1.0)
        for name, (ours, theirs) in found.items():
            assert ours <= 2 * theirs + FLOOR, f"{name}, {shape}, {dtype}, {loss}: {ours}, reference {theirs}"


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize("distance", FAST_DISTANCES)
def test_near_equality_no_digits_are_lost(impl: str, device: str, distance: str) -> None:
    """H a little beside Hr, and Hw a little beside H: by a constant, along itself, by noise."""
    h, r, w, lost, noise = (*features((2, 4, 96), device=device), features((2, 4, 96), device=device, seed=1)[0])
    options = {"gamma": gamma_for(distance, 384), "pooling": "none", "distance": distance}
    for near in (h + 1e-3, h * (1 + 1e-3), h * (1 + 1e-4 * noise)):
        for sides, which in (([h, near, w, lost], 4), ([h, r, near, lost], 0)):
            double = run([x.double() for x in sides], **options, impl="reference")
            ours, theirs = (run(sides, **options, impl=name) for name in (impl, "reference"))
            for a, b, true in zip(*((x[1][which], x[2]) for x in (ours, theirs, double)), strict=True):
                assert relative_error(a, true) <= 2 * relative_error(b, true) + FLOOR
        if impl == "triton" and device == "cpu":
            break


@pytest.mark.parametrize(("impl", "device"), backends("kc_dpo", reference=True))
@pytest.mark.parametrize(("pooling", "distance"), CASES)
def test_log_2_where_policy_equals_reference(impl: str, device: str, pooling: str, distance: str) -> None:
    for dtype in DTYPES if impl != "triton" else DTYPES[:1]:
        sides = features((3, 4, 21), dtype, device)
        sides[1] = sides[0].clone()
        loss, distances, gradient = run(sides, gamma=15.6, pooling=pooling, distance=distance, impl=impl)
        assert loss.item() == -F.logsigmoid(torch.zeros(())).item()
        assert not distances.margins_B.any() and not distances.drift_B.any()
        assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize(("impl", "device"), backends("kc_dpo", reference=True))
@pytest.mark.parametrize(("pooling", "distance"), CASES)
def test_zero_distances_and_zero_norms(impl: str, device: str, pooling: str, distance: str) -> None:
    """Pairs: all equal; H = Hw; H zero; Hw zero; all zero."""
    sides = features((5, 2, 6), device=device)
    for x in sides[1:]:
        x[0] = sides[0][0]
    sides[2][1] = sides[0][1]
    sides[0][2] = 0
    sides[2][3] = 0
    for x in sides:
        x[4] = 0
    loss, d, gradient = run(sides, gamma=1.5, pooling=pooling, distance=distance, impl=impl, sft_weight=0.5)
    wanted = run(sides, gamma=1.5, pooling=pooling, distance=distance, impl="reference", sft_weight=0.5)
    torch.testing.assert_close(loss, wanted[0])
    torch.testing.assert_close(torch.stack(tuple(d)), torch.stack(tuple(wanted[1])))
    torch.testing.assert_close(gradient, wanted[2])
    assert not torch.stack(tuple(d))[:, 0].any() and not torch.stack(tuple(d))[:, 4].any() and d.chosen_B[1] == 0
    assert not gradient[0].any() and not gradient[4].any()
    if distance == "cosine":
        torch.testing.assert_close(d.chosen_B[2:4], torch.full_like(d.chosen_B[2:4], 0.5))
        assert not gradient[2].any()


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize(("pooling", "distance"), CASES)
def test_a_pair_does_not_depend_on_its_neighbours(impl: str, device: str, pooling: str, distance: str) -> None:
    batch = 4 if impl != "triton" else 2
    sides = features((batch, 3, 40), device=device)
    options = {"gamma": 0.7, "pooling": pooling, "distance": distance, "impl": impl}
    _, together, gradient = run(sides, **options)
    for pair in range(batch):
        _, alone, own = run([x[pair : pair + 1] for x in sides], **options)
        assert torch.equal(torch.stack(tuple(together))[:, pair], torch.stack(tuple(alone))[:, 0])
        assert torch.equal(gradient[pair] * batch, own[0])  # the batch is a power of two
    again = run(sides, **options)
    assert torch.equal(again[2], gradient)


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize("pooling", FAST_POOLINGS)
@pytest.mark.parametrize("upstream", [3.0, -0.5, 0.0])
def test_an_upstream_gradient_scales(impl: str, device: str, pooling: str, upstream: float) -> None:
    sides = features((2, 3, 10), device=device)
    one, other = (run(sides, gamma=2.0, pooling=pooling, impl=impl, upstream=u)[2] for u in (1.0, upstream))
    torch.testing.assert_close(other, one * upstream)


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize("pooling", FAST_POOLINGS)
def test_fixed_features_may_come_pooled_strided_and_in_a_dtype_of_their_own(
    impl: str, device: str, pooling: str
) -> None:
    sides = features((2, 4, 10), device=device)
    options = {"gamma": 2.0, "pooling": pooling, "impl": impl}
    wanted = run(sides, **options)
    pooled = run([sides[0], *(pool(x, pooling) for x in sides[1:])], **options)
    strided = run([x.transpose(1, 2).contiguous().transpose(1, 2) for x in sides], **options)
    for result in (pooled, strided):
        for a, b in zip(flat(result), flat(wanted), strict=True):
            torch.testing.assert_close(a, b)
    mixed = [sides[0].bfloat16(), sides[1].half(), sides[2], sides[3].bfloat16()]
    for a, b in zip(flat(run(mixed, **options)), flat(run([x.float() for x in mixed], **options)), strict=True):
        torch.testing.assert_close(a, b.to(a.dtype))
    assert run(mixed, **options)[2].dtype == torch.bfloat16


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize("distance", FAST_DISTANCES)
def test_margins_of_any_size(impl: str, device: str, distance: str) -> None:
    for order in ((0, 1, 2, 3), (0, 1, 3, 2)):
        sides = [features((1, 2, 8), device=device)[i] for i in order]
        options = {"gamma": 1e4, "pooling": "none", "distance": distance}
        (loss, _, gradient), wanted = run(sides, **options, impl=impl), run(sides, **options, impl="reference")
        torch.testing.assert_close(loss, wanted[0])
        torch.testing.assert_close(gradient, wanted[2], atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize(("impl", "device"), BACKENDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_not_hidden(impl: str, device: str, bad: float) -> None:
    for side in range(4) if impl != "triton" else (0,):
        sides = features((2, 2, 6), device=device)
        sides[side][1, 1, 3] = bad
        loss, d, gradient = run(sides, gamma=1.0, impl=impl)
        assert loss.isnan() and gradient[1].isnan().any() and gradient[0].isfinite().all()
        assert torch.stack(tuple(d))[:, 1].isnan().any() and torch.stack(tuple(d))[:, 0].isfinite().all()


def test_float16_does_not_overflow() -> None:
    sides = [x * 1e4 for x in features((2, 3, 64), torch.float16)]
    for pooling, distance in CASES:
        loss, _, gradient = run(sides, gamma=1e-12, pooling=pooling, distance=distance, impl="auto")
        assert loss.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize(("impl", "device"), CPP)
@pytest.mark.parametrize(("pooling", "distance"), CASES)
def test_the_bits_do_not_depend_on_the_instruction_set(
    impl: str, device: str, pooling: str, distance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype in DTYPES:
        results = []
        for name in ("base", "avx2", "avx512"):
            monkeypatch.setenv("SILMM_ISA", name)
            sides = features((2, 9, 1031), dtype)
            results.append(flat(run(sides, gamma=0.5, pooling=pooling, distance=distance, impl=impl)))
        assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("distance", FAST_DISTANCES)
@pytest.mark.parametrize("pooling", FAST_POOLINGS)
def test_the_benchmarks_eager_computes_the_same(pooling: str, distance: str) -> None:
    eager, sides = runpy.run_path(str(EAGER))["eager"], features((3, 5, 32))
    loss = kc_dpo(*sides, gamma=0.9, pooling=pooling, distance=distance)[0]
    torch.testing.assert_close(loss, eager(*sides, 0.9, pooling, distance))


@pytest.mark.parametrize(("impl", "device"), backends("kc_dpo", reference=True))
def test_the_log_sigmoid_is_that_of_dpo(impl: str, device: str) -> None:
    assert set(LOSSES) <= set(losses.LOSSES)
    loss, d, _ = run(features((3, 4, 8), device=device), gamma=4.0, impl=impl)
    sides = (-d.chosen_B, -d.rejected_B, -d.ref_chosen_B, -d.ref_rejected_B)
    torch.testing.assert_close(loss, losses.dpo(*sides, 4.0).mean())
    assert torch.equal(losses.reward_metrics(*sides, 1.0)["rewards/margins"] > 0, d.margins_B.mean() > 0)


def test_no_gradient_where_none_is_wanted_and_the_row_of_avg_is_a_view() -> None:
    sides = features((2, 6, 8))
    assert not kc_dpo(*sides, gamma=1.0)[0].requires_grad
    with torch.no_grad():
        assert not kc_dpo(sides[0].requires_grad_(), *sides[1:], gamma=1.0)[0].requires_grad
    loss, distances, gradient = run([x.detach() for x in sides], gamma=1.0, pooling="avg", impl=CPP[0].values[0])
    assert gradient.stride() == (8, 0, 1) and loss.shape == ()
    assert not any(d.requires_grad for d in distances)


@pytest.mark.parametrize(("impl", "device"), [b for b in BACKENDS if "triton" in b.id])
def test_triton_in_many_blocks_and_its_scale(impl: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from silmm.kernels import kc_dpo_triton

    monkeypatch.setattr(kc_dpo_triton, "block_sizes", lambda rows, width: (1 if rows == 1 else 2, 16))
    for pooling, shape in (("avg", (1, 5, 37)), ("none", (1, 7, 39))):  # 18 blocks, two a program of the second kernel
        sides = features(shape, device=device)
        ours, theirs = (flat(run(sides, gamma=1.0, pooling=pooling, impl=i)) for i in (impl, "reference"))
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)
    grad = features((3, 5, 7), device=device)[0]
    for scale in (1.0, -0.5, math.nan):
        scaled = grad.clone()
        kc_dpo_triton.kc_dpo_scale(scaled, torch.tensor(scale, device=device))
        torch.testing.assert_close(scaled, grad * scale, equal_nan=True)


def _child(results: multiprocessing.Queue) -> None:
    results.put(run(features((2, 3, 8)), gamma=1.0)[0].item())


def test_a_forked_child_can_call_it() -> None:
    wanted = run(features((2, 3, 8)), gamma=1.0)[0].item()
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_child, args=(results,))
    child.start()
    assert results.get(timeout=20) == wanted
    child.join()


GOOD = dict(zip(("feats_BLD", "ref_feats", "chosen_feats", "rejected_feats"), features((3, 4, 5)), strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "sum"}, "pooling: expected avg, max, none or query, given 'sum'"),
        ({"distance": "l2"}, "distance: expected cosine, .* or laplace, given 'l2'"),
        ({"gamma": 0.0}, "gamma: expected a finite number above 0, given 0.0"),
        ({"loss": "hinge"}, "loss: expected sigmoid or sft, given 'hinge'"),
        ({"loss": "sft"}, "sft_weight: expected a finite number above 0 with loss 'sft'.* given 0.0"),
        ({"feats_BLD": GOOD["feats_BLD"][:0]}, r"feats: .* none of them 0, given float32 \[0, 4, 5\]"),
        (
            {"ref_feats": GOOD["ref_feats"][:2]},
            r"ref_feats: expected floating \[3, 4, 5\] or \[3, 5\], given .*2, 4, 5",
        ),
        ({"chosen_feats": GOOD["ref_feats"].long()}, r"chosen_feats: .* given int64 \[3, 4, 5\]"),
        ({"rejected_feats": GOOD["ref_feats"].to("meta")}, "rejected_feats: expected on cpu like feats, given on meta"),
        ({"chosen_feats": GOOD["ref_feats"].clone().requires_grad_()}, "chosen_feats: expected .* without gradient"),
        ({"impl": "cpp", "pooling": "max"}, "impl: 'cpp' does not do pooling 'max'; 'reference' and 'auto' do"),
        ({"impl": "cpp", "distance": "rbf"}, "impl: 'cpp' does not do distance 'rbf'"),
        ({"impl": "cpp", "ref_feats": GOOD["ref_feats"].double()}, "impl: 'cpp' does not do float64"),
        ({"impl": "numpy"}, "impl: expected auto, reference, cpp, triton or cuda, given 'numpy'"),
    ],
)
def test_wrong_arguments_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kc_dpo(**{"gamma": 1.0, **GOOD, **changes})
