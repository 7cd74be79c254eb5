"""Philox4x32-10 against the known answers of its authors, and against the same rounds in Python's own integers."""

from __future__ import annotations

import pytest
import torch

from silmm.kernels._dispatch import READY, extension, state
from silmm.kernels.philox import MASK, lanes, philox

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
# Counter, key and answer, from the file kat_vectors of Random123.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def key_of(low: int, high: int) -> torch.Tensor:
    bits = high << 32 | low
    return torch.tensor(bits - (1 << 64) if bits >> 63 else bits)


def plain(counter: list[int], low: int, high: int) -> list[int]:
    c0, c1, c2, c3 = counter
    for _ in range(10):
        first, second = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = second >> 32 ^ c1 ^ low, second & MASK, first >> 32 ^ c3 ^ high, first & MASK
        low, high = (low + 0x9E3779B9) & MASK, (high + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]) -> None:
    c0, c1, c2, c3 = (torch.tensor(word) for word in counter)
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), key_of(*key))) == answer


@pytest.mark.parametrize("name", ["_C", "_CUDA"])  # of the latter what nvcc makes of it for the host: no GPU is needed
def test_known_answers_of_the_extensions(name: str) -> None:
    module, why = extension(name)
    if module is None:
        pytest.skip(why)
    for counter, (low, high), answer in KNOWN:
        assert tuple(module.philox(counter, high << 32 | low)) == answer


@pytest.mark.skipif(state("triton") != READY, reason=f"triton: {state('triton')}")
def test_known_answers_of_triton() -> None:
    import triton
    import triton.language as tl

    from silmm.kernels import philox_triton

    @triton.jit
    def kernel(counters_ptr, keys_ptr, out_ptr, PHILOX: tl.constexpr):
        row = tl.program_id(0)
        at = counters_ptr + row * 4
        c0, c1, c2, c3 = tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)
        w0, w1, w2, w3 = PHILOX(tl.load(keys_ptr + row), c0, c1, c2, c3)
        out = out_ptr + row * 4
        tl.store(out, w0.to(tl.int64))
        tl.store(out + 1, w1.to(tl.int64))
        tl.store(out + 2, w2.to(tl.int64))
        tl.store(out + 3, w3.to(tl.int64))

    device = "cuda" if torch.cuda.is_available() else "cpu"
    counters = torch.tensor([counter for counter, _, _ in KNOWN], device=device)
    keys = torch.stack([key_of(*key) for _, key, _ in KNOWN]).to(device)
    out = torch.empty_like(counters)
    kernel[(len(KNOWN),)](counters, keys, out, philox_triton.philox)
    assert [tuple(row) for row in out.tolist()] == [answer for _, _, answer in KNOWN]


def test_against_python_integers() -> None:
    words = torch.randint(1 << 32, (6, 200), generator=torch.Generator().manual_seed(0))
    keys = torch.stack([key_of(low, high) for low, high in words[4:].T.tolist()])
    ours = torch.stack(philox((words[0], words[1], words[2], words[3]), keys), -1)
    assert ours.tolist() == [plain(row[:4], *row[4:]) for row in words.T.tolist()]


def test_words_broadcast_and_nothing_depends_on_the_shape() -> None:
    group, row, sample = torch.arange(5), torch.arange(3)[:, None], torch.arange(2)[:, None, None]
    words = philox((group, row, sample, torch.tensor(9)), key_of(*PI[:2]))
    assert all(word.shape == (2, 3, 5) and word.dtype == torch.int64 for word in words)
    alone = philox((group[4], row[2, 0], sample[1, 0, 0], torch.tensor(9)), key_of(*PI[:2]))
    assert [int(word[1, 2, 4]) for word in words] == [int(word) for word in alone]


def test_lanes_are_the_halves_in_the_order_of_memory() -> None:
    words = (torch.tensor(0x00010000), torch.tensor(0x00030002), torch.tensor(0x00050004), torch.tensor(0xFFFF0006))
    assert [int(lane) for lane in lanes(words)] == [0, 1, 2, 3, 4, 5, 6, 0xFFFF]
