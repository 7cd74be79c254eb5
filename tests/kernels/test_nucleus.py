"""`nucleus`: both implementations, one definition."""

from __future__ import annotations

import itertools
import math
import shutil

import numpy as np
import pytest
import torch
from torch import Tensor

from silmm.kernels import available, nucleus
from silmm.kernels.nucleus import BITS, weights

# Without the extension its tests fail, unless no compiler is there: a broken build must not pass as skipped tests.
BUILDS = available()["nucleus"]["cpp"] == "ready" or any(map(shutil.which, ("c++", "g++", "clang++")))
IMPLS = ("reference", "cpp") if BUILDS else ("reference",)
TOP_PS = (0.0, 0.3, 0.9, 1.0)
TEMPERATURES = (0.01, 0.7, 1.0, 3.0)
SHAPES = ((1, 1), (3, 1), (1, 2), (5, 7), (2, 16), (3, 33), (4, 300), (2, 1025), (1, 40_000))
INF = math.inf


def random_case(seed: int, rows: int, vocab: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits_BV = torch.randn(rows, vocab, generator=generator) * scale
    return logits_BV, torch.rand(rows, generator=generator, dtype=torch.float64)


def both(logits_BV: Tensor, uniforms_B: Tensor, temperature: float, top_p: float) -> Tensor:
    """The tokens, once it is sure that all implementations agree."""
    tokens, *others = (
        nucleus(logits_BV, uniforms_B, temperature=temperature, top_p=top_p, impl=impl) for impl in IMPLS
    )
    assert tokens.dtype == torch.int64
    assert all(torch.equal(tokens, other) for other in others)
    return tokens


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.0, 1e-6, 0.5, 4.0, 100.0])
def test_cpp_returns_the_tokens_of_the_reference(shape: tuple[int, int], scale: float) -> None:
    for seed, (temperature, top_p) in enumerate(itertools.product(TEMPERATURES, TOP_PS)):
        tokens_B = both(*random_case(seed, *shape, scale), temperature, top_p)
        assert tokens_B.shape == (shape[0],)
        assert ((tokens_B >= 0) & (tokens_B < shape[1])).all()


@pytest.mark.parametrize("top_p", TOP_PS)
def test_agreement_with_ties_and_forbidden_tokens(top_p: float) -> None:
    for seed in range(50):
        logits_BV, uniforms_B = random_case(seed, 20, 400)
        logits_BV = (logits_BV * 2).round() / 2  # about 20 distinct values: most tokens are tied
        logits_BV[torch.rand(logits_BV.shape, generator=torch.Generator().manual_seed(seed)) < 0.4] = -INF
        tokens_B = both(logits_BV, uniforms_B, 1.0, top_p)
        assert logits_BV.gather(1, tokens_B[:, None]).isfinite().all()


def test_against_a_loop_over_python_integers() -> None:
    logits_BV, uniforms_B = random_case(3, 40, 60)
    logits_BV = (logits_BV * 3).round() / 3
    for top_p in (*TOP_PS, 0.5, 0.99):
        expected = []
        for row, u in zip(weights(logits_BV, 1 / 0.8).tolist(), uniforms_B.tolist(), strict=True):
            order = sorted(range(len(row)), key=lambda v: (-row[v], v))
            sums = list(itertools.accumulate(row[v] for v in order))
            mass = next(s for s in sums if s >= max(1, math.ceil(top_p * sum(row))) or s == sums[-1])
            expected.append(next(v for v, s in zip(order, sums, strict=True) if s > math.floor(u * mass)))
        assert both(logits_BV, uniforms_B, 0.8, top_p).tolist() == expected


def test_weights_are_the_softmax() -> None:
    logits_BV, _ = random_case(0, 8, 500, scale=5.0)
    exact_BV = torch.exp(logits_BV.double() - logits_BV.double().amax(1, keepdim=True)) * 2.0**BITS
    weights_BV = weights(logits_BV, 1.0)
    assert weights_BV.amax(1).tolist() == [1 << BITS] * 8
    assert (weights_BV - exact_BV).abs().max() <= 0.5 + 2.0**-8


@pytest.mark.parametrize("impl", IMPLS)
def test_nucleus_boundary_is_exact(impl: str) -> None:
    """Ten tied tokens: with float sums 0.1 + 0.1 + 0.1 > 0.3, and three tokens could be four or two."""
    uniforms_B = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    logits_BV = torch.zeros(1000, 10)
    for kept in range(1, 11):
        tokens_B = nucleus(logits_BV, uniforms_B, top_p=kept / 10, impl=impl)
        assert sorted(set(tokens_B.tolist())) == list(range(kept))


@pytest.mark.parametrize("impl", IMPLS)
def test_inverse_cdf_in_falling_order(impl: str) -> None:
    """Probabilities 1/8, 1/2, 1/8, 1/4 at ids 0..3: the order is 1, 3, 0, 2."""
    logits_BV = torch.tensor([[1 / 8, 1 / 2, 1 / 8, 1 / 4]]).log().repeat(8, 1)
    uniforms_B = torch.arange(8, dtype=torch.float64) / 8 + 1 / 16
    assert nucleus(logits_BV, uniforms_B, impl=impl).tolist() == [1, 1, 1, 1, 3, 3, 0, 2]
    # top_p 0.7 keeps ids 1 and 3, renormalised to 2/3 and 1/3
    assert nucleus(logits_BV, uniforms_B, top_p=0.7, impl=impl).tolist() == [1, 1, 1, 1, 1, 3, 3, 3]


@pytest.mark.parametrize("impl", IMPLS)
def test_top_p_zero_is_greedy_and_the_lowest_id_wins(impl: str) -> None:
    logits_BV, uniforms_B = random_case(1, 50, 200)
    assert nucleus(logits_BV, uniforms_B, top_p=0.0, impl=impl).tolist() == logits_BV.argmax(1).tolist()
    tied_BV = torch.tensor([[0.0, 3.0, -INF, 3.0]])
    assert nucleus(tied_BV, torch.tensor([0.999], dtype=torch.float64), top_p=0.0, impl=impl).tolist() == [1]


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_distribution(impl: str, top_p: float) -> None:
    """Chi-square of 200,000 draws against float64 softmax cut to the nucleus; the bound is its 0.999 quantile."""
    logits_V = torch.tensor([2.0, -1.0, 0.5, 0.5, -INF, 1.0, 0.0, -0.5, 1.5, -2.0])
    draws, temperature = 200_000, 1.3
    uniforms_B = torch.from_numpy(np.random.default_rng(7).random(draws))
    tokens_B = nucleus(logits_V.expand(draws, -1), uniforms_B, temperature=temperature, top_p=top_p, impl=impl)
    p_V = (logits_V.double() / temperature).softmax(0)
    sorted_V, order_V = p_V.sort(descending=True, stable=True)
    kept = int((sorted_V.cumsum(0) < top_p - 1e-12).sum()) + 1
    counts_V = torch.bincount(tokens_B, minlength=len(p_V)).double()[order_V]
    kept = min(kept, int((p_V > 0).sum()))
    expected_K = sorted_V[:kept] / sorted_V[:kept].sum() * draws
    assert counts_V[kept:].sum() == 0
    chi_square = ((counts_V[:kept] - expected_K) ** 2 / expected_K).sum()
    assert chi_square < {9: 26.12, 5: 18.47}[kept]


def test_uniforms_at_the_ends() -> None:
    logits_BV, _ = random_case(5, 2, 1000)
    logits_BV[:, ::3] = -INF
    tokens_B = both(logits_BV, torch.tensor([0.0, 1 - 2.0**-53], dtype=torch.float64), 1.0, 1.0)
    assert tokens_B[0] == logits_BV[0].argmax()
    assert tokens_B[1] == logits_BV[1].where(logits_BV[1].isfinite(), INF).argmin()


@pytest.mark.parametrize("impl", IMPLS)
def test_strides_and_arguments_are_left_alone(impl: str) -> None:
    logits_BV, uniforms_B = random_case(9, 6, 120)
    expected = nucleus(logits_BV, uniforms_B, top_p=0.9, impl=impl).tolist()
    padded_BTV = torch.zeros(6, 3, 140)
    padded_BTV[:, -1, 11:131] = logits_BV
    last_BV = padded_BTV[:, -1, 11:131]
    column_major_BV = logits_BV.t().contiguous().t()
    spread_B = torch.stack([uniforms_B, uniforms_B], 1)[:, 0]
    before = padded_BTV.clone()
    assert nucleus(last_BV, spread_B, top_p=0.9, impl=impl).tolist() == expected
    assert nucleus(column_major_BV, uniforms_B, top_p=0.9, impl=impl).tolist() == expected
    assert nucleus(logits_BV.clone().requires_grad_(), uniforms_B, top_p=0.9, impl=impl).tolist() == expected
    assert torch.equal(padded_BTV, before)


@pytest.mark.parametrize("impl", [*IMPLS, "auto"])
@pytest.mark.parametrize("vocab", [0, 1, 9])
def test_empty_batch(impl: str, vocab: int) -> None:
    tokens_B = nucleus(torch.empty(0, vocab), torch.empty(0, dtype=torch.float64), impl=impl)
    assert tokens_B.shape == (0,)
    assert tokens_B.dtype == torch.int64


def test_auto_takes_cpp_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from silmm.kernels import _dispatch

    cpu = torch.device("cpu")
    assert _dispatch.choose("nucleus", "auto", cpu) == IMPLS[-1]
    assert _dispatch.choose("nucleus", "auto", torch.device("cuda")) == "reference"
    monkeypatch.setattr(_dispatch, "extension", lambda *_: (None, "not built"))
    assert _dispatch.choose("nucleus", "auto", cpu) == "reference"
    assert available()["nucleus"] == {"reference": "ready", "cpp": "not built"}
    with pytest.raises(RuntimeError, match="not available: not built"):
        nucleus(torch.zeros(1, 2), torch.zeros(1, dtype=torch.float64), impl="cpp")


@pytest.mark.skipif(not BUILDS, reason="no C++ compiler")
def test_an_extension_of_another_abi_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from silmm.kernels import _dispatch

    monkeypatch.setattr(_dispatch, "ABI", -1)
    module, reason = _dispatch.extension.__wrapped__()
    assert module is None
    assert "other sources" in reason


ZEROS_B = torch.zeros(2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits_BV": torch.zeros(2)}, r"logits: expected float32 \[B, V\], given float32 \[2\]"),
        ({"logits_BV": torch.zeros(2, 3).double()}, r"logits: expected float32 \[B, V\], given float64 \[2, 3\]"),
        ({"logits_BV": torch.zeros(2, 0)}, r"logits: expected 1 to 4194304 tokens a row, given 0"),
        ({"uniforms_B": ZEROS_B[:1]}, r"uniforms: expected float64 \[2\], .*given float64 \[1\]"),
        ({"uniforms_B": ZEROS_B.float()}, r"uniforms: expected float64 \[2\], .*given float32 \[2\]"),
        ({"uniforms_B": ZEROS_B + 1}, r"uniforms: expected values in \[0, 1\), given 1.0 in row 0"),
        ({"uniforms_B": ZEROS_B - 1e-9}, r"uniforms: expected values in \[0, 1\), given -1e-09 in row 0"),
        ({"uniforms_B": ZEROS_B + math.nan}, r"uniforms: expected values in \[0, 1\), given nan in row 0"),
        ({"temperature": 0.0}, "temperature: expected a finite number above 0, given 0.0"),
        ({"temperature": -1.0}, "temperature: .* given -1.0"),
        ({"temperature": math.nan}, "temperature: .* given nan"),
        ({"temperature": INF}, "temperature: .* given inf"),
        ({"top_p": 1.5}, r"top_p: expected a number in \[0, 1\], given 1.5"),
        ({"top_p": math.nan}, "top_p: .* given nan"),
        ({"impl": "cuda"}, "impl: expected auto, reference or cpp, given 'cuda'"),
    ],
)
def test_errors_name_argument_expected_and_given(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"logits_BV": torch.zeros(2, 3), "uniforms_B": ZEROS_B, "temperature": 1.0}
    with pytest.raises(ValueError, match=message):
        nucleus(**{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("position", [0, 17, 39])
@pytest.mark.parametrize("bad", [math.nan, INF])
def test_a_row_that_cannot_be_sampled_is_named(impl: str, position: int, bad: float) -> None:
    logits_BV = torch.zeros(4, 40)
    logits_BV[2, position] = bad
    logits_BV[3] = math.nan
    with pytest.raises(ValueError, match="logits: row 2 cannot be sampled from"):
        nucleus(logits_BV, torch.zeros(4, dtype=torch.float64), impl=impl)


@pytest.mark.parametrize("impl", IMPLS)
def test_a_row_of_forbidden_tokens_is_named(impl: str) -> None:
    logits_BV = torch.zeros(3, 5)
    logits_BV[1] = -INF
    with pytest.raises(ValueError, match="logits: row 1 cannot be sampled from"):
        nucleus(logits_BV, torch.zeros(3, dtype=torch.float64), impl=impl)
