"""`decode_attention`: the reference against plain attention, the kernel against the reference, on odd shapes."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from torch import Tensor

from silmm.kernels import available, decode_attention
from silmm.kernels._dispatch import isa
from silmm.kernels.decode_attention import Cache, Prefix, new_cache, new_prefix, reference

BUILDS = available()["decode_attention"]["cpp"] == "ready" or any(map(shutil.which, ("c++", "g++", "clang++")))
needs_cpp = pytest.mark.skipif(not BUILDS, reason="no C++ compiler")
# prompts, samples, heads, dim, prefix places, cache places, place
SHAPES = (
    (1, 1, 1, 2, 0, 1, 0),
    (2, 3, 2, 6, 5, 7, 3),
    (3, 4, 1, 8, 8, 8, 7),
    (2, 5, 3, 10, 17, 9, 0),
    (1, 9, 4, 24, 24, 40, 35),
    (2, 8, 2, 64, 19, 80, 63),
    (1, 2, 1, 128, 33, 16, 15),
)
Case = tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor], Prefix, Cache, int]


def make(shape: tuple[int, ...], *, spread: float = 1.0, seed: int = 0, dtype: torch.dtype = torch.float32) -> Case:
    """The same numbers in any dtype."""
    prompts, samples, heads, dim, start, length, place = shape
    rows = prompts * samples
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(dtype)

    angle_D = torch.rand(dim // 2, generator=generator).to(dtype).repeat(2) * 6
    seen_PT = torch.rand(prompts, start, generator=generator) < 0.7
    prefix = Prefix(draw(prompts, heads, dim, start), draw(prompts, heads, start, dim), seen_PT)
    cache = Cache(draw(rows, heads, dim, length), draw(rows, heads, length, dim))
    q, k, v = (draw(rows, heads, dim) for _ in range(3))
    return q * spread, k, v, (angle_D.cos(), angle_D.sin()), prefix, cache, place


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_is_attention_over_prefix_and_own_past(shape: tuple[int, ...]) -> None:
    prompts, samples, _, _, start, _, place = shape
    q, k, v, (cos, sin), prefix, cache, _ = case = make(shape, dtype=torch.float64)
    context = reference(*case, 0.3)

    def rotated(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    for row in range(prompts * samples):
        prompt = row // samples
        keys = torch.cat(
            [prefix.keys_PHDT[prompt].transpose(1, 2), cache.keys_BHDL[row].transpose(1, 2)[:, : place + 1]], 1
        )
        values = torch.cat([prefix.values_PHTD[prompt], cache.values_BHLD[row][:, : place + 1]], 1)
        seen = torch.cat([prefix.seen_PT[prompt], torch.ones(place + 1, dtype=torch.bool)])
        assert torch.equal(keys[:, -1], rotated(k[row])) and torch.equal(values[:, -1], v[row])
        wanted = torch.nn.functional.scaled_dot_product_attention(
            rotated(q[row])[:, None], keys, values, attn_mask=seen[None, None], scale=0.3
        )
        torch.testing.assert_close(context[row], wanted[:, 0])
    assert start == prefix.seen_PT.shape[1]


@needs_cpp
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_the_kernel_errs_at_most_twice_as_much_as_torch(shape: tuple[int, ...], spread: float) -> None:
    ours = theirs = 0.0
    for seed in range(8):
        true = reference(*make(shape, spread=spread, seed=seed, dtype=torch.float64), 0.3)
        case, other = (make(shape, spread=spread, seed=seed) for _ in range(2))
        context = decode_attention(*case, scale=0.3, impl="cpp")
        theirs = max(theirs, float((decode_attention(*other, scale=0.3, impl="reference") - true).abs().max()))
        ours = max(ours, float((context - true).abs().max()))
        for written, expected in zip(case[5], other[5], strict=True):
            torch.testing.assert_close(written, expected, rtol=1e-6, atol=1e-6)
    assert ours <= 2 * theirs + 1e-7


@needs_cpp
@pytest.mark.parametrize("shape", SHAPES)
def test_the_bits_do_not_depend_on_the_instruction_set(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for name in ("base", "avx2", "avx512"):
        monkeypatch.setenv("SILMM_ISA", name)
        results.append(decode_attention(*make(shape), scale=0.3, impl="cpp"))
    assert all(torch.equal(results[0], other) for other in results[1:])


@needs_cpp
def test_a_row_does_not_depend_on_its_neighbours() -> None:
    """Rows are taken by fours and one by one: their bits must be the same."""
    q, k, v, rotary, prefix, cache, place = make((1, 7, 2, 24, 16, 40, 20))
    together = decode_attention(
        q, k, v, rotary, prefix, Cache(*(x.clone() for x in cache)), place, scale=0.2, impl="cpp"
    )
    for row in range(7):
        own = Cache(*(x[row : row + 1].clone() for x in cache))
        alone = decode_attention(
            *(x[row : row + 1] for x in (q, k, v)), rotary, prefix, own, place, scale=0.2, impl="cpp"
        )
        assert torch.equal(together[row], alone[0])


@needs_cpp
def test_what_is_not_seen_has_no_weight_even_where_it_is_no_number() -> None:
    q, k, v, rotary, prefix, cache, place = make((2, 5, 2, 8, 16, 16, 4))
    cache.keys_BHDL[..., place + 1 :] = math.nan  # not written yet
    cache.values_BHLD[..., place + 1 :, :] = math.nan
    prefix.keys_PHDT.masked_fill_(~prefix.seen_PT[:, None, None], math.inf)
    context = decode_attention(q, k, v, rotary, prefix, cache, place, scale=0.3, impl="cpp")
    assert context.isfinite().all()


@needs_cpp
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_no_number_is_not_hidden(which: int) -> None:
    case = make((2, 5, 2, 8, 16, 16, 4))
    case[which][3, 1, 2] = math.nan
    context = decode_attention(*case, scale=0.3, impl="cpp")
    assert context[3, 1].isnan().any() and context[4].isfinite().all()


def test_room_is_made_to_whole_vectors_and_hidden() -> None:
    keys, values, seen = torch.randn(2, 3, 5, 4), torch.randn(2, 3, 5, 4), torch.ones(2, 5, dtype=torch.bool)
    prefix = new_prefix(keys, values, seen)
    assert prefix.keys_PHDT.shape == (2, 3, 4, 8) and prefix.values_PHTD.shape == (2, 3, 8, 4)
    assert prefix.seen_PT.tolist() == [[True] * 5 + [False] * 3] * 2
    assert torch.equal(prefix.keys_PHDT[..., :5], keys.transpose(2, 3))
    assert new_cache(2, 3, 9, 4).keys_BHDL.shape == (2, 3, 4, 16)


@pytest.mark.parametrize(
    ("number", "value", "says"),
    [
        (0, torch.zeros(6, 2, 7), "q: expected .* even D"),
        (0, torch.zeros(5, 2, 8), "multiple of 2 rows"),
        (1, torch.zeros(6, 2, 8, dtype=torch.float64), "k: expected contiguous torch.float32"),
        (2, torch.zeros(6, 8, 2).transpose(1, 2), "v: expected .* not contiguous"),
        (6, 16, r"place: expected in \[0, 16\)"),
    ],
)
def test_wrong_arguments_are_named(number: int, value: object, says: str) -> None:
    case = list(make((2, 3, 2, 8, 16, 16, 4)))
    case[number] = value
    with pytest.raises(ValueError, match=says):
        decode_attention(*case, scale=0.3)


def test_an_unknown_instruction_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILMM_ISA", "sse9")
    with pytest.raises(ValueError, match="SILMM_ISA: expected base, avx2, avx512"):
        isa()
