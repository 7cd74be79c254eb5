"""`selective_logps` at its edges, and its row kernel alone: certain and impossible tokens, NaN, infinity, bits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from silmm.kernels import selective_logps
from silmm.kernels.selective_logps import row_kernels
from silmm.kernels.selective_logps_tiles import LOGP, OWN, forward_tiles, new_room, new_stats
from tests.kernels.accuracy import backends, relative_error

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
INF = math.inf
every_backend = pytest.mark.parametrize(("impl", "device"), backends("selective_logps"))


def tile(rows: int, cols: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Logits in a tile's layout, and ids."""
    g = torch.Generator().manual_seed(1)
    logits = new_room(torch.empty(0, dtype=dtype, device=device), rows, cols)
    logits.copy_(torch.randn(rows, cols, generator=g) * 4)
    return logits, torch.randint(cols, (rows,), generator=g).to(device)


def measured(impl: str, logits: Tensor, ids: Tensor, first: int = 0, write: bool = False) -> Tensor:
    """Stats of a tile."""
    stats = new_stats(logits)
    row_kernels(impl).selective_logps_fwd(logits, ids, first, stats, write)
    return stats


@every_backend
def test_certain_tokens_keep_their_digits(impl: str, device: str) -> None:
    """Log-probs from -1e-2 down to -1e-30, where 1 - p is far below the rounding of p."""
    lead_M = torch.tensor([5.0, 20.0, 40.0, 69.0])
    hidden, weight = lead_M[:, None].to(device).requires_grad_(), torch.tensor([[1.0], [0.0], [0.0]], device=device)
    logps = selective_logps(hidden, weight, torch.zeros(4, dtype=torch.int64, device=device), impl=impl)
    rest = 2 * (-lead_M.double()).exp()
    for found, true in zip(logps, -rest.log1p(), strict=True):
        assert relative_error(found, true) < 1e-6
    logps.sum().backward()
    assert hidden.grad is not None
    for found, true in zip(hidden.grad[:, 0], rest / (1 + rest), strict=True):
        assert relative_error(found, true) < 1e-6


@every_backend
@pytest.mark.parametrize("workspace", [1, None])
def test_impossible_tokens_are_finite_and_exact(impl: str, device: str, workspace: int | None) -> None:
    weight = torch.zeros(600, 2, device=device)
    weight[0, 0], weight[599, 0] = 200.0, -1000.0
    hidden = torch.ones(3, 2, device=device, requires_grad=True)
    ids = torch.tensor([1, 599, 0], device=device)
    logps = selective_logps(hidden, weight, ids, impl=impl, workspace=workspace)
    assert logps.tolist() == [-200.0, -1200.0, pytest.approx(-598 * math.exp(-200), abs=1e-45)]
    logps.sum().backward()
    assert hidden.grad is not None and hidden.grad[:, 0].tolist() == [-200.0, -1200.0, pytest.approx(0, abs=1e-30)]


@every_backend
def test_a_vocabulary_of_one_and_no_tokens_at_all(impl: str, device: str) -> None:
    for tokens, vocab in ((1, 1), (3, 1), (0, 1), (0, 50), (0, 0)):
        hidden = torch.randn(tokens, 4, device=device, requires_grad=True)
        weight = torch.randn(vocab, 4, device=device, requires_grad=True)
        logps = selective_logps(hidden, weight, torch.zeros(tokens, dtype=torch.int64, device=device), impl=impl)
        logps.sum().backward()
        assert logps.tolist() == [0.0] * tokens
        assert torch.equal(hidden.grad, torch.zeros_like(hidden))
        assert torch.equal(weight.grad, torch.zeros_like(weight))


@every_backend
def test_what_is_no_number_is_not_hidden_and_stays_in_its_row(impl: str, device: str) -> None:
    cols = 40
    for bad, place in ((math.nan, 3), (math.nan, 9), (INF, 3), (INF, 9)):
        logits, _ = tile(3, cols, device=device)
        logits[1, place] = bad
        clean = logits.clone()
        stats = measured(impl, logits, torch.tensor([9, 9, 9], device=device), write=True)
        assert stats[:, LOGP].isnan().tolist() == [False, True, False]
        assert stats[:, OWN].isnan().tolist() == [False, True, False]
        others = [v for v in range(cols) if v != 9]
        assert logits[0].isfinite().all()
        if place != 9:  # a chosen one is in `own` alone
            assert logits[1, others].isnan().any()
        assert relative_error(logits[2, others], clean[2, others].double().softmax(0)) < 1e-6


@every_backend
def test_minus_infinity_has_no_weight(impl: str, device: str) -> None:
    logits, _ = tile(4, 40, device=device)
    logits[0, :20] = -INF
    logits[1, :39] = -INF  # the chosen one alone is left
    logits[2, 5] = -INF  # the chosen one
    logits[3] = -INF
    wanted = logits.double().log_softmax(-1)
    ids = torch.tensor([30, 39, 5, 0], device=device)
    stats = measured(impl, logits, ids, write=True)
    assert stats[0, LOGP].item() == pytest.approx(wanted[0, 30].item(), rel=1e-6)
    assert stats[1, LOGP].item() == 0.0 and stats[1, OWN].item() == 0.0
    assert stats[2, LOGP].item() == -INF and stats[2, OWN].item() == 1.0
    assert stats[3, LOGP].isnan()
    assert not logits[0, :20].any() and not logits[1].any() and logits[2].isfinite().all()


@every_backend
def test_an_id_outside_gives_nan_and_no_wild_read(impl: str, device: str) -> None:
    """As ids on a GPU can be: there nobody looks at them."""
    hidden, weight = torch.randn(4, 8, device=device), torch.randn(300, 8, device=device)
    ids = torch.tensor([-1, 0, 300, 1 << 40], device=device)
    for workspace in (1, 1 << 20):
        logps, _, slope, _ = forward_tiles(hidden, weight, ids, row_kernels(impl), workspace, (True, True))
        assert slope is not None
        assert logps.isnan().tolist() == slope.isnan().all(1).tolist() == [True, False, True, True]


@every_backend
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tile_by_tile_is_as_all_at_once(impl: str, device: str, dtype: torch.dtype) -> None:
    logits, ids = tile(2, 300, dtype, device)
    true = logits.double().log_softmax(-1).gather(1, ids[:, None])[:, 0]
    stats = new_stats(logits)
    for first in (0, 256):
        piece = new_room(logits, 2, min(256, 300 - first)).copy_(logits[:, first : first + 256])
        row_kernels(impl).selective_logps_fwd(piece, ids, first, stats, True)
    assert relative_error(stats[:, LOGP], true) < 3e-7
    assert relative_error(measured(impl, logits.clone(), ids)[:, LOGP], true) < 3e-7
    weights = logits.double().scatter(1, ids[:, None], -INF).softmax(-1).scatter(1, ids[:, None], -1)
    row_kernels(impl).selective_logps_bwd(logits, ids, 0, stats)
    assert relative_error(logits, weights) < {torch.float32: 1e-6, torch.bfloat16: 3e-3, torch.float16: 4e-4}[dtype]


@every_backend
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_does_not_depend_on_its_neighbours(impl: str, device: str, dtype: torch.dtype) -> None:
    logits, ids = tile(4, 333, dtype, device)
    alone = [new_room(logits, 1, 333).copy_(logits[r : r + 1]) for r in (0, 3)]
    stats = measured(impl, logits, ids, write=True)
    for r, row in zip((0, 3), alone, strict=True):
        own = measured(impl, row, ids[r : r + 1], write=True)
        assert torch.equal(own[0], stats[r]) and torch.equal(row[0], logits[r])


@every_backend
def test_logits_are_left_alone_unless_weights_are_wanted(impl: str, device: str) -> None:
    logits, ids = tile(3, 50, device=device)
    before = logits.clone()
    measured(impl, logits, ids)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(("impl", "device"), [p for p in backends("selective_logps") if p.values[0] == "cpp"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_bits_do_not_depend_on_the_instruction_set(
    impl: str, device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cols in (1, 15, 64, 2500):
        results = []
        for name in ("base", "avx2", "avx512"):
            monkeypatch.setenv("SILMM_ISA", name)
            logits, ids = tile(3, cols, dtype)
            weights, stats = logits.clone(), measured(impl, logits, ids, write=True)
            row_kernels(impl).selective_logps_bwd(weights, ids, 0, stats)
            results.append((logits.float(), weights.float(), stats.nan_to_num(9.0)))
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
