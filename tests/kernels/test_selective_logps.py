"""`selective_logps`: its values and gradients against float64, in every implementation, tile by tile."""

from __future__ import annotations

import math
import multiprocessing
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.memory import peak_cpu
from silmm.kernels import selective_logps
from silmm.kernels.selective_logps_tiles import backward_tile, forward_tile
from tests.kernels.accuracy import backends, relative_error

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "eager_selective_logps.py"))
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = ((4, 256, 32), (3, 777, 33))  # tokens, vocabulary, width: a round shape and an odd one
FLOOR = 1e-7
Results = tuple[Tensor, Tensor, Tensor]


def make(shape: tuple[int, int, int], *, spread: float = 0.5, seed: int = 0) -> tuple[Tensor, ...]:
    """hidden [M, D], weight [V, D], ids [M] and an upstream gradient [M], of both signs."""
    tokens, vocab, width = shape
    g = torch.Generator().manual_seed(seed)
    hidden, weight = torch.randn(tokens, width, generator=g), torch.randn(vocab, width, generator=g) * spread
    return hidden, weight, torch.randint(vocab, (tokens,), generator=g), torch.randn(tokens, generator=g)


def run(case: tuple[Tensor, ...], dtype: torch.dtype, impl: str, device: str = "cpu", *, of: Any = None, **more: Any):  # type: ignore[no-untyped-def]
    """Log-probs and the gradients of hidden states and weight, by numbers that `of` (default: dtype) can hold."""
    hidden, weight, ids, grad = case
    hidden, weight = (x.to(of or dtype).to(device, dtype).clone().requires_grad_() for x in (hidden, weight))
    logps = selective_logps(hidden, weight, ids.to(device), impl=impl, **more)
    logps.backward(grad.to(logps))
    return logps.detach(), hidden.grad, weight.grad


def test_the_reference_is_a_log_softmax_and_a_gather() -> None:
    hidden, weight, ids, _ = (x.double() if x.is_floating_point() else x for x in make((6, 11, 4)))
    eager = BENCH["eager_selective_logps"](hidden, weight, ids)
    assert eager.dtype == torch.float64
    torch.testing.assert_close(selective_logps(hidden, weight, ids), eager, rtol=1e-12, atol=1e-14)
    inputs = hidden.requires_grad_(), weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: selective_logps(x, w, ids), inputs)
    bf16 = [x.detach().bfloat16() for x in inputs]
    assert BENCH["eager_selective_logps"](*bf16, ids).dtype == torch.float32


@pytest.mark.parametrize(("impl", "device"), backends("selective_logps"))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("workspace", [1, 10_000, None])
def test_errs_at_most_twice_as_much_as_torch(
    impl: str, device: str, dtype: torch.dtype, shape: tuple[int, int, int], workspace: int | None
) -> None:
    slow = impl == "triton" and device == "cpu"  # the interpreter
    if slow and workspace != (None if shape == SHAPES[0] else 10_000):
        pytest.skip("enough is tried without")
    ours, theirs = [0.0] * 3, [0.0] * 3
    for seed in range(1 if slow else 4):
        case = make(shape, seed=seed)
        true = run(case, torch.float64, "reference", of=dtype)
        found = run(case, dtype, impl, device, workspace=workspace)
        torchs = run(case, dtype, "reference", device)
        assert found[0].dtype == torch.float32 and {found[1].dtype, found[2].dtype} == {dtype}
        for i in range(3):
            ours[i] = max(ours[i], relative_error(found[i], true[i]))
            theirs[i] = max(theirs[i], relative_error(torchs[i], true[i]))
    assert all(a <= 2 * b + FLOOR for a, b in zip(ours, theirs, strict=True)), (ours, theirs)


@pytest.mark.parametrize(("impl", "device"), backends("selective_logps"))
def test_long_rows(impl: str, device: str) -> None:
    """More columns than a block of the kernel sums at once; the head's gradient is rounded once, however many tiles."""
    case = make((2, 9001, 16))
    for dtype in (torch.float32, torch.bfloat16):
        true, torchs = run(case, torch.float64, "reference", of=dtype), run(case, dtype, "reference", device)
        for workspace in (6000 * 4, None):
            found = run(case, dtype, impl, device, workspace=workspace)
            for a, b, c in zip(found, torchs, true, strict=True):
                assert relative_error(a, c) <= 2 * relative_error(b, c) + FLOOR


class Products(TorchDispatchMode):
    """Counts multiplications of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            a, b = args[-2:]
            self.count += a.shape[0] * a.shape[1] * b.shape[1]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("impl", "device"), backends("selective_logps"))
@pytest.mark.parametrize(("learns", "fits", "products"), [
    ("", False, 1), ("", True, 1), ("x", False, 2), ("x", True, 2), ("w", False, 3), ("w", True, 2),
    ("xw", False, 4), ("xw", True, 3),
])  # fmt: skip
def test_each_case_does_what_it_needs(impl: str, device: str, learns: str, fits: bool, products: int) -> None:
    shape = (2, 300, 8)
    hidden, weight, ids, grad = (x.to(device) for x in make(shape))
    true = run(make(shape), torch.float64, "reference")
    hidden.requires_grad_("x" in learns)
    weight.requires_grad_("w" in learns)
    with Products() as counted:
        logps = selective_logps(hidden, weight, ids, impl=impl, workspace=None if fits else 2000)
        assert logps.requires_grad == bool(learns)
        if learns:
            logps.backward(grad)
    assert counted.count == products * math.prod(shape)
    for tensor, letter, expected in ((hidden, "x", true[1]), (weight, "w", true[2])):
        assert (tensor.grad is not None) == (letter in learns)
        assert tensor.grad is None or relative_error(tensor.grad, expected) < 1e-6
    assert relative_error(logps, true[0]) < 1e-6
    with torch.no_grad(), Products() as counted:
        assert not selective_logps(hidden, weight, ids, impl=impl, workspace=2000).requires_grad
    assert counted.count == math.prod(shape)


@pytest.mark.parametrize(("impl", "device"), backends("selective_logps"))
def test_any_leading_dimensions_and_strides(impl: str, device: str) -> None:
    g = torch.Generator().manual_seed(3)
    hidden_TBD = torch.randn(3, 2, 12, generator=g).to(device)
    padded_VE, ids_TB = torch.randn(40, 20, generator=g).to(device), torch.randint(35, (3, 2), generator=g).to(device)
    for hidden, weight, ids in (
        (hidden_TBD.transpose(0, 1), padded_VE[5:, 3:15], ids_TB.t()),
        (hidden_TBD[:, :, ::2], padded_VE[5:, :6], ids_TB),
        (hidden_TBD[0, 1], padded_VE[3:38, 1:13], ids_TB[2, 0]),
        (hidden_TBD[:1, :1].expand(3, 2, 12), padded_VE[5:, :12], ids_TB),
    ):
        grads = []
        for name, kind in ((impl, torch.float32), ("reference", torch.float64)):
            x, w = (tensor.detach().to(kind).requires_grad_() for tensor in (hidden, weight))
            logps = selective_logps(x, w, ids, impl=name)
            assert logps.shape == ids.shape
            logps.sum().backward()  # an expanded upstream gradient
            grads.append((logps, x.grad, w.grad))
        assert all(relative_error(a, b) < 1e-6 for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(("impl", "device"), backends("selective_logps"))
def test_twice_backward_and_no_gradient_of_the_gradient(impl: str, device: str) -> None:
    hidden, weight, ids, grad = (x.to(device) for x in make((2, 300, 8)))
    inputs = [hidden.requires_grad_(), weight.requires_grad_()]
    for workspace in (1, None):
        logps = selective_logps(hidden, weight, ids, impl=impl, workspace=workspace)
        first = torch.autograd.grad(logps, inputs, grad, retain_graph=True)
        again = torch.autograd.grad(logps, inputs, grad, retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        with pytest.raises(RuntimeError, match="differentiable once"):
            torch.autograd.grad(logps, inputs, grad, create_graph=True)


def test_tiles_keep_to_the_workspace() -> None:
    for tokens in (1, 7, 1000, 1024, 5000, 100_000):
        for vocab in (1, 100, 16_384, 184_622):
            for numbers in (1, 1000, 1 << 20, 1 << 28):
                for tile, least in ((forward_tile, 256), (backward_tile, 64)):
                    rows, cols = tile(tokens, vocab, numbers)
                    assert 1 <= rows <= tokens and 1 <= cols <= vocab
                    assert rows * cols <= max(numbers, least)
    assert forward_tile(256, 40_194, 1 << 21) == (256, 8048)  # few tokens: all at once, and the head in pieces
    assert forward_tile(16_384, 184_622, 1 << 28) == (1376, 184_622)  # many: whole rows of logits
    assert backward_tile(16_384, 184_622, 1 << 28) == (16_384, 15_392)


def test_a_tenth_of_the_memory() -> None:
    hidden, weight, ids, grad = make((512, 4096, 16))
    hidden.requires_grad_()
    _, eager = peak_cpu(lambda: BENCH["eager_selective_logps"](hidden, weight, ids).backward(grad), ())
    assert 3 * 512 * 4096 * 4 <= eager < 3.1 * 512 * 4096 * 4
    if backends("selective_logps")[0].marks:
        pytest.skip("no C++")
    _, ours = peak_cpu(lambda: selective_logps(hidden, weight, ids, impl="cpp", workspace=1 << 20).backward(grad), ())
    assert (1 << 20) <= ours < (1 << 20) + 5 * hidden.nbytes + ids.nbytes * 20


def child(queue: Any) -> None:
    case = make((9, 100, 8))
    queue.put([x.tolist() for x in run(case, torch.float32, "auto")])


def test_a_forked_child_can_call_it() -> None:
    expected = [x.tolist() for x in run(make((9, 100, 8)), torch.float32, "auto")]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join()


HIDDEN, WEIGHT, IDS = torch.zeros(2, 3, 4), torch.zeros(5, 4), torch.zeros(2, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": HIDDEN.long()}, r"hidden: expected float32, .* given int64 \[2, 3, 4\]"),
        ({"hidden": torch.tensor(1.0)}, r"hidden: expected .* \[\.\.\., D\], given float32 \[\]"),
        ({"weight_VD": WEIGHT.bfloat16()}, r"weight: expected float32 \[V, 4\] like hidden, given bfloat16 \[5, 4\]"),
        ({"weight_VD": WEIGHT[:, :3]}, r"weight: expected float32 \[V, 4\] .* given float32 \[5, 3\]"),
        ({"weight_VD": torch.zeros(4, 5).t()}, r"weight: expected its last dimension along memory"),
        ({"weight_VD": WEIGHT[:0]}, r"weight: expected at least one row, given float32 \[0, 4\]"),
        ({"weight_VD": WEIGHT.to("meta")}, "weight: expected on cpu like hidden, given on meta"),
        ({"ids": IDS[:1]}, r"ids: expected int64 \[2, 3\], given int64 \[1, 3\]"),
        ({"ids": IDS.int()}, r"ids: expected int64 \[2, 3\], given int32 \[2, 3\]"),
        ({"ids": IDS + 5}, r"ids: expected in \[0, 5\), given 5"),
        ({"ids": IDS - 1}, r"ids: expected in \[0, 5\), given -1"),
        ({"workspace": 0}, "workspace: expected a number of bytes above 0, given 0"),
        ({"impl": "cublas"}, "impl: expected auto, reference, cpp, triton or cuda, given 'cublas'"),
        (
            {"hidden": HIDDEN.double(), "weight_VD": WEIGHT.double(), "impl": "cpp"},
            "impl: 'cpp' does not do float64; 'reference' and 'auto' do",
        ),
    ],
)
def test_errors_name_argument_expected_and_given(changes: dict[str, Any], message: str) -> None:
    arguments = {"hidden": HIDDEN, "weight_VD": WEIGHT, "ids": IDS, **changes}
    with pytest.raises(ValueError, match=message):
        selective_logps(**arguments)
