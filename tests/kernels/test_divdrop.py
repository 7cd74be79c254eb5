"""`divdrop`, its definition: masks are a function of names, values those of the plain SwiGLU under them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from silmm.kernels import divdrop
from silmm.kernels.divdrop import SITES, drop_mask, mask_key
from silmm.kernels.philox import lanes, philox
from silmm.kernels.sigmoid import sigmoid, silu

P, N, T, WIDTH = 3, 4, 5, 19  # a width that is no multiple of eight
KEYS = torch.tensor([mask_key(0, 1, f"prompt-{i}") for i in range(P)])
SAMPLES, POSITIONS = torch.tensor([0, 1, 7, 29]), torch.tensor([3, 4, 5, 6, 60])
GOLDEN_KEY = 2264815026556175858
GOLDEN_BITS = "0101011011111001110011110111110110110101011101100101101111110111"
GOLDEN_OUTPUT_BITS = "0011000001011111011"
NAMES = {"keys_P": KEYS, "samples_N": SAMPLES, "positions_T": POSITIONS}


def activations(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


GATE, UP = activations(P, T, WIDTH), activations(P, T, WIDTH, seed=1)


def mask(width: int = WIDTH, layer: int = 2, site: str = "hidden", rate: float = 0.3, **names: Tensor) -> Tensor:
    return drop_mask(**{**NAMES, **names}, width=width, layer=layer, site=site, rate=rate)


def test_golden_values() -> None:
    """Whatever computes these masks, on whatever machine, must find the same bits."""
    assert mask_key(0, 1, "prompt-0") == 6226455963162223052
    bits = drop_mask(torch.tensor([GOLDEN_KEY]), torch.tensor([29]), torch.tensor([60]), 64, 2, "hidden", 0.3)
    assert "".join(str(int(bit)) for bit in bits.flatten()) == GOLDEN_BITS
    bits = drop_mask(torch.tensor([-1]), torch.tensor([2**32 - 1]), torch.tensor([0]), 19, 31, "output", 0.5)
    assert "".join(str(int(bit)) for bit in bits.flatten()) == GOLDEN_OUTPUT_BITS


def test_the_definition_element_by_element() -> None:
    layer, threshold = 2, round(0.3 * 65536)
    for site_number, site in enumerate(SITES):
        kept = mask(site=site)
        for p, n, t, e in [(0, 0, 0, 0), (1, 2, 3, 7), (2, 3, 4, 8), (1, 1, 0, 18)]:
            counter = (e // 8, int(POSITIONS[t]), int(SAMPLES[n]), 2 * layer + site_number)
            c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
            lane = int(lanes(philox((c0, c1, c2, c3), KEYS[p]))[e % 8])
            assert bool(kept[p, n, t, e]) == (lane >= threshold)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7])
def test_the_share_and_the_mean_are_kept(rate: float) -> None:
    kept = mask(width=2048, site="output", rate=rate)
    assert float(kept.float().mean()) == pytest.approx(1 - rate, abs=0.01)
    out = divdrop(torch.ones(P, T, 2048), **NAMES, layer=2, site="output", rate=rate)
    assert float(out.mean()) == pytest.approx(1, abs=0.01)
    threshold = round(rate * 65536)
    assert out[kept].unique().tolist() == [pytest.approx(65536 / (65536 - threshold))]
    assert not out[~kept].any()


def test_names_alone_decide() -> None:
    """Not the batch, not its order, not which samples, positions or features are made together."""
    whole = mask()
    order = torch.tensor([2, 0])
    assert torch.equal(mask(keys_P=KEYS[order]), whole[order])
    assert torch.equal(mask(samples_N=SAMPLES[[3, 1]]), whole[:, [3, 1]])
    assert torch.equal(mask(positions_T=POSITIONS.flip(0)), whole.flip(2))
    assert torch.equal(mask(width=9), whole[..., :9])
    samples_PN, positions_PT = torch.stack([SAMPLES, SAMPLES.flip(0), SAMPLES]), torch.stack([POSITIONS] * 3).add(1)
    own = mask(samples_N=samples_PN, positions_T=positions_PT)
    assert torch.equal(own[1], mask(positions_T=POSITIONS + 1)[1].flip(0))
    assert torch.equal(own[2], mask(positions_T=POSITIONS + 1)[2])


def test_every_name_counts() -> None:
    masks = [
        mask(),
        mask(layer=3),
        mask(site="output"),
        mask(samples_N=SAMPLES + 1),
        mask(positions_T=POSITIONS + 1),
        *(mask(keys_P=KEYS.clone().fill_(mask_key(*key))) for key in [(0, 1, "x"), (0, 2, "x"), (1, 1, "x")]),
    ]
    for i, one in enumerate(masks):
        # independent masks agree at 0.58 of the places
        assert all(0.45 < float((one == other).float().mean()) < 0.7 for other in masks[:i])


def test_values_at_both_sites() -> None:
    kept, scale = mask(), 65536 / (65536 - 19661)
    hidden = divdrop(GATE, UP, **NAMES, layer=2, rate=0.3)
    torch.testing.assert_close(hidden, (F.silu(GATE) * UP)[:, None] * kept * scale)
    each = divdrop(GATE[:, None].expand(-1, N, -1, -1), UP[:, None].expand(-1, N, -1, -1), **NAMES, layer=2, rate=0.3)
    torch.testing.assert_close(each, hidden)
    output = divdrop(GATE, **NAMES, layer=2, site="output", rate=0.3)
    torch.testing.assert_close(output, GATE[:, None] * mask(site="output") * scale)
    assert hidden.shape == output.shape == (P, N, T, WIDTH)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rate_0_is_the_plain_swiglu(dtype: torch.dtype) -> None:
    gate, up = GATE.to(dtype), UP.to(dtype)
    out = divdrop(gate, up, **NAMES, layer=0, rate=0.0)
    assert out.dtype == dtype
    torch.testing.assert_close(out, (F.silu(gate) * up)[:, None].expand(-1, N, -1, -1), rtol=1e-6, atol=1e-7)


def test_the_sigmoid_and_its_derivative() -> None:
    x = torch.cat([torch.linspace(-100, 100, 4001), torch.tensor([0.0, -0.0, 1e-30, math.inf, -math.inf, math.nan])])
    s, true = sigmoid(x), torch.sigmoid(x.double().clamp(-87, 87))
    assert float(((s - true) / true)[:-1].abs().max()) < 4e-7
    assert math.isnan(s[-1])
    wide = x[:-3].clone().requires_grad_()
    (grad,) = torch.autograd.grad((silu(wide) * 3).sum(), wide)
    double = wide.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad((silu(double) * 3).sum(), double)
    torch.testing.assert_close(grad, wanted.float(), rtol=1e-5, atol=1e-6)


def test_the_scale_is_not_rounded_to_half_precision() -> None:
    x = torch.full((1, 1, 8), 3.0, dtype=torch.bfloat16)
    out = divdrop(
        x, keys_P=KEYS[:1], samples_N=SAMPLES[:1], positions_T=POSITIONS[:1], layer=0, site="output", rate=0.3
    )
    assert out.max().item() == torch.tensor(3 * 65536 / (65536 - 19661)).bfloat16().item()  # 4.28; else it is 4.31


def test_masked_positions() -> None:
    everywhere, plain = (divdrop(GATE, UP, **NAMES, layer=2, rate=rate) for rate in (0.3, 0.0))
    masked_T = torch.tensor([False, False, True, True, True])  # say, the dream queries
    out = divdrop(GATE, UP, **NAMES, layer=2, rate=0.3, masked_T=masked_T)
    assert torch.equal(out[:, :, 2:], everywhere[:, :, 2:])
    assert torch.equal(out[:, :, :2], plain[:, :, :2])
    masked_PT = torch.stack([masked_T, ~masked_T, masked_T])
    own = divdrop(GATE, UP, **NAMES, layer=2, rate=0.3, masked_T=masked_PT)
    assert torch.equal(own[0], out[0]) and torch.equal(own[1, :, :2], everywhere[1, :, :2])


def test_gradients() -> None:
    gate, up = (activations(2, 2, 9, seed=i, dtype=torch.float64).requires_grad_() for i in range(2))
    names = {"keys_P": KEYS[:2], "samples_N": SAMPLES[:2], "positions_T": POSITIONS[:2]}
    masked_T = torch.tensor([False, True])
    assert torch.autograd.gradcheck(
        lambda gate, up: divdrop(gate, up, **names, layer=1, rate=0.4, masked_T=masked_T), (gate, up)
    )


def test_empty() -> None:
    empty = {**NAMES, "samples_N": SAMPLES[:0]}
    assert divdrop(GATE, UP, **empty, layer=0, rate=0.3).shape == (P, 0, T, WIDTH)
    assert mask(width=0).shape == (P, N, T, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 1.0}, r"rate: expected a number in \[0, 1\).*, given 1.0"),
        ({"rate": -0.1}, "rate: .* given -0.1"),
        ({"rate": math.nan}, "rate: .* given nan"),
        ({"rate": 1 - 2**-20}, "rate: .* does not round to 1 in 16 bits, given 0.999999"),
        ({"site": "input"}, "site: expected hidden or output, given 'input'"),
        ({"layer": -1}, r"layer: expected in \[0, 2147483648\), given -1"),
        ({"x": torch.zeros(2, 3)}, r"x: expected floating \[P, T, F\].*, given float32 \[2, 3\]"),
        ({"x": GATE.long()}, r"x: expected floating .* given int64 \[3, 5, 19\]"),
        ({"up": None}, r"up: expected float32 \[3, 5, 19\] like x at site hidden, given none"),
        ({"up": UP.double()}, r"up: expected float32 .* given float64 \[3, 5, 19\]"),
        ({"site": "output"}, r"up: expected none at site output, given float32 \[3, 5, 19\]"),
        ({"keys_P": KEYS[:2]}, r"keys: expected int64 \[3\], given int64 \[2\]"),
        ({"keys_P": KEYS.double()}, r"keys: expected int64 \[3\], given float64 \[3\]"),
        ({"samples_N": SAMPLES - 1}, r"samples: expected values in \[0, 4294967296\), given -1"),
        ({"samples_N": SAMPLES + 2**32}, "samples: .* given 4294967296"),
        ({"samples_N": torch.tensor(0)}, r"samples: expected int64 \[n\] or \[3, n\], given int64 \[\]"),
        ({"positions_T": POSITIONS[:4]}, r"positions: expected int64 \[5\] or \[3, 5\], given int64 \[4\]"),
        ({"positions_T": POSITIONS[None]}, r"positions: expected .* given int64 \[1, 5\]"),
        ({"masked_T": POSITIONS}, r"masked: expected bool \[5\] or \[3, 5\], given int64 \[5\]"),
        ({"impl": "gpu"}, "impl: expected auto, reference, cpp, triton or cuda, given 'gpu'"),
        (
            {"x": GATE.double(), "up": UP.double(), "impl": "cpp"},
            r"'cpp' does not do float64 \[3, 5, 19\]; 'reference'",
        ),
    ],
)
def test_wrong_arguments_are_named(changes: dict, message: str) -> None:
    arguments = {"x": GATE, "up": UP, **NAMES, "layer": 2, "rate": 0.3, **changes}
    with pytest.raises(ValueError, match=message):
        divdrop(**arguments)


def test_samples_must_fit_rows_of_their_own() -> None:
    with pytest.raises(ValueError, match=r"samples: expected int64 \[2\] or \[3, 2\], given int64 \[4\]"):
        divdrop(GATE[:, None].expand(-1, 2, -1, -1), **NAMES, layer=2, site="output", rate=0.3)
    with pytest.raises(ValueError, match="width: .* given -1"):
        mask(width=-1)
