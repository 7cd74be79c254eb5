"""`divdrop`, its implementations: the bits of the reference forwards, its gradients to rounding backwards."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from silmm.kernels import divdrop
from silmm.kernels._dispatch import ISAS, interpreted
from silmm.kernels.divdrop import drop_mask, mask_key
from silmm.kernels.philox import lanes, philox
from tests.kernels.accuracy import backends, relative_error

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SOURCE = Path(__file__).parents[2] / "src"
# prompts, samples, positions, width: no multiple of a group, a round one, more than a chunk of the C++ kernel and a bit
SHAPES = ((2, 3, 2, 19), (1, 2, 1, 64), (1, 2, 1, 1045))
SMALL = (2, 3, 1, 19)  # for Triton's interpreter, which takes long for each program
IMPLS = backends("divdrop")


@pytest.fixture(params=ISAS)
def any_isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SILMM_ISA", request.param)
    return request.param


def names(shape: tuple[int, ...], device: str) -> dict:
    prompts, samples, positions, _ = shape
    keys = torch.tensor([mask_key(0, f"prompt-{i}") for i in range(prompts)], dtype=torch.int64)
    samples_N = torch.arange(samples) * 2**31 // max(1, samples) + 2**31  # words that are negative as int32
    masked_PT = (torch.arange(prompts)[:, None] + torch.arange(positions)) % 3 != 1
    tensors = {
        "keys_P": keys,
        "samples_N": samples_N,
        "positions_T": torch.arange(positions) + 7,
        "masked_T": masked_PT,
    }
    return {name: tensor.to(device) for name, tensor in tensors.items()} | {"layer": 2**30 + 1, "rate": 0.3}


def draw(*shape: int, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3).to(dtype).to(device)


def assert_same_bits(given: Tensor, wanted: Tensor, *, truncated: bool = False) -> None:
    """NaN at the same places, else the same bits; one bit less where Triton's interpreter is known to truncate."""
    assert given.dtype == wanted.dtype and given.shape == wanted.shape and given.is_contiguous()
    given, wanted = given.cpu(), wanted.cpu()
    assert torch.equal(given.isnan(), wanted.isnan())
    integer = torch.int32 if wanted.dtype == torch.float32 else torch.int16
    off = (given.view(integer).long() - wanted.view(integer).long()).masked_fill(wanted.isnan(), 0)
    assert int(off.min()) >= (-1 if truncated else 0) and int(off.max()) <= 0


def truncates(impl: str, dtype: torch.dtype) -> bool:
    """Triton's interpreter casts float32 to bfloat16 by cutting; compiled code rounds to nearest even."""
    return impl == "triton" and dtype == torch.bfloat16 and interpreted()


def variants(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> list[Tensor]:
    """A trunk; one for each sample; and both with strides: a slice of wider rows, positions side by side, every other
    element."""
    prompts, samples, positions, width = shape
    trunk = draw(prompts, positions, width, dtype=dtype, device=device)
    each = draw(prompts, samples, positions, width, dtype=dtype, device=device, seed=3)
    wider = draw(prompts, positions, width + 5, dtype=dtype, device=device)[..., 3 : width + 3]
    turned = each.transpose(1, 2).contiguous().transpose(1, 2)
    sparse = draw(prompts, positions, 2 * width, dtype=dtype, device=device)[..., ::2]
    return [trunk, each, wider, turned, sparse]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_cpp_gives_the_bits_of_the_reference(shape: tuple[int, ...], dtype: torch.dtype, any_isa: str) -> None:
    for x in variants(shape, dtype, "cpu"):
        up, kw = x.flip(-1).neg(), names(shape, "cpu")
        assert_same_bits(divdrop(x, up, **kw, impl="cpp"), divdrop(x, up, **kw, impl="reference"))
        kw |= {"site": "output"}
        assert_same_bits(divdrop(x, **kw, impl="cpp"), divdrop(x, **kw, impl="reference"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("impl", "device"), [p for p in IMPLS if p.values[0] != "cpp"])
def test_others_give_the_bits_of_the_reference(impl: str, device: str, dtype: torch.dtype) -> None:
    cut = truncates(impl, dtype)
    for x in variants(SMALL, dtype, device):
        up, kw = x.flip(-1).neg(), names(SMALL, device)
        assert_same_bits(divdrop(x, up, **kw, impl=impl), divdrop(x, up, **kw, impl="reference"), truncated=cut)
    x, kw = draw(1, 1, 1045, dtype=dtype, device=device), names(SHAPES[2], device) | {"site": "output"}
    assert_same_bits(divdrop(x, **kw, impl=impl), divdrop(x, **kw, impl="reference"), truncated=cut)


@pytest.mark.parametrize(("impl", "device"), IMPLS)
def test_a_lane_at_the_threshold_is_kept(impl: str, device: str) -> None:
    kw = names((1, 1, 1, 8), device)
    counter = (torch.tensor(0), kw["positions_T"][0].cpu(), kw["samples_N"][0].cpu(), torch.tensor(2 * kw["layer"]))
    drawn = [int(lane) for lane in lanes(philox(counter, kw["keys_P"][0].cpu()))]
    x = torch.ones(1, 1, 8, device=device)
    for lane in sorted(drawn)[:2]:
        out = divdrop(x, x, **kw | {"rate": lane / 65536}, impl=impl)
        assert out.flatten().ne(0).tolist() == [other >= lane for other in drawn]


@pytest.mark.parametrize(("impl", "device"), IMPLS)
def test_nothing_is_hidden(impl: str, device: str) -> None:
    """0 * inf and 0 * nan are NaN, zeros keep their signs, subnormal numbers stay; so too at rate 0 and unmasked."""
    special = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-40, -200.0, 100.0, 65519.0, 1e-7]
    gate = torch.tensor(special * 11, device=device)[None, None]
    up = torch.tensor(special, device=device).repeat_interleave(11)[None, None]
    for dtype in (torch.float32, torch.float16):
        for rate, masked in ((0.5, True), (0.0, True), (0.5, False)):
            kw = names((1, 2, 1, 121), device) | {"rate": rate, "masked_T": torch.tensor([masked], device=device)}
            out, wanted = (divdrop(gate.to(dtype), up.to(dtype), **kw, impl=name) for name in (impl, "reference"))
            assert_same_bits(out, wanted)
            assert bool(out.isnan().any()) and bool(out.signbit()[out == 0].any())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(("impl", "device"), backends("divdrop", reference=True))
def test_values_and_gradients_are_as_near_to_the_truth_as_eager(
    impl: str, device: str, shared: bool, dtype: torch.dtype
) -> None:
    shape = (2, 3, 1, 75)
    prompts, samples, positions, width = shape
    kw = names(shape, device)
    sizes = (prompts, positions, width) if shared else shape
    # Also an upstream gradient that is neither 1 nor contiguous.
    grad = draw(samples, prompts, positions, width, dtype=dtype, device=device, seed=5).transpose(0, 1)
    mask = {name: value for name, value in kw.items() if name != "masked_T"}
    kept = drop_mask(**mask, width=width, site="hidden") | ~kw["masked_T"][:, None, :, None]
    scale = torch.where(kw["masked_T"], 65536 / (65536 - round(0.3 * 65536)), 1.0)[:, None, :, None]

    def run(which: str) -> list[Tensor]:
        x, up = (draw(*sizes, dtype=dtype, device=device, seed=seed) for seed in range(2))
        if which == "truth":
            x, up = x.double(), up.double()
        x.requires_grad_(), up.requires_grad_()
        if which == "eager":
            plain = F.silu(x) * up
            out = (plain[:, None] if shared else plain) * kept * scale.to(dtype)
        else:
            out = divdrop(x, up, **kw, impl="reference" if which == "truth" else impl)
        return [out, *torch.autograd.grad(out, (x, up), grad.to(out.dtype))]

    for given, eager, true in zip(run("ours"), run("eager"), run("truth"), strict=True):
        assert given.dtype == dtype
        assert relative_error(given, true) <= 2 * relative_error(eager, true) + 1e-8


@pytest.mark.parametrize(("impl", "device"), IMPLS)
def test_gradients_of_the_output_site(impl: str, device: str) -> None:
    shape = SMALL
    kw, grad = names(shape, device) | {"site": "output"}, draw(*shape, dtype=torch.float32, device=device, seed=4)
    for x in variants(shape, torch.float32, device)[:2]:
        grads = []
        for name in (impl, "reference"):
            leaf = x.clone().requires_grad_()
            grads += torch.autograd.grad(divdrop(leaf, **kw, impl=name), leaf, grad)
        torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-6)


def test_cpp_gradients_have_the_same_bits_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (1, 4, 2, 1045)
    found = []
    for isa in ISAS:
        monkeypatch.setenv("SILMM_ISA", isa)
        x, up = (draw(1, 2, 1045, dtype=torch.bfloat16, seed=seed).requires_grad_() for seed in range(2))
        out = divdrop(x, up, **names(shape, "cpu"), impl="cpp")
        found.append(torch.autograd.grad(out, (x, up), draw(*shape, dtype=torch.bfloat16, seed=6)))
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize(("impl", "device"), IMPLS)
def test_a_prompt_does_not_depend_on_its_neighbours(impl: str, device: str) -> None:
    kw = names(SMALL, device)
    x, up = (draw(2, 1, 19, dtype=torch.float32, device=device, seed=seed) for seed in range(2))
    whole = divdrop(x, up, **kw, impl=impl)
    one = kw | {"keys_P": kw["keys_P"][1:], "masked_T": kw["masked_T"][1:], "samples_N": kw["samples_N"][2:]}
    assert torch.equal(divdrop(x[1:], up[1:], **one, impl=impl), whole[1:, 2:])


@pytest.mark.parametrize(("impl", "device"), IMPLS)
def test_empty(impl: str, device: str) -> None:
    for shape in ((0, 3, 2, 19), (2, 0, 2, 19), (2, 3, 0, 19), (2, 3, 2, 0)):
        prompts, _, positions, width = shape
        for sizes in ((prompts, positions, width), shape):
            x, up = (draw(*sizes, dtype=torch.float32, device=device).requires_grad_() for _ in range(2))
            out = divdrop(x, up, **names(shape, device), impl=impl)
            assert out.shape == shape
            grads = torch.autograd.grad(out.sum(), (x, up))
            assert all(grad.shape == sizes and not grad.any() for grad in grads)


@pytest.mark.parametrize(("impl", "device"), IMPLS)
def test_what_names_masks_must_not_change_before_backward(impl: str, device: str) -> None:
    kw = names(SHAPES[1], device)
    x = draw(1, 1, 64, dtype=torch.float32, device=device).requires_grad_()
    out = divdrop(x, **kw, site="output", impl=impl)
    kw["keys_P"].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_can_call_it() -> None:
    x, kw = draw(1, 1, 64, dtype=torch.float32), names(SHAPES[1], "cpu")
    wanted = divdrop(x, x, **kw)
    child = os.fork()
    if not child:
        os._exit(0 if torch.equal(divdrop(x, x, **kw), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0


COMPILE = """
import subprocess, sys
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from silmm.kernels.divdrop_triton import AOT
tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
for kernel, signature, constants in AOT:
    if "grad_ptr" in signature or "*fp16" in signature.values():
        continue
    even = [n for n, t in signature.items() if t[0] == "*" or n == "width" or (n[0] in "xug" and "stride" in n)]
    attrs = {(list(signature).index(name),): [["tt.divisibility", 16]] for name in even}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attrs)
    target = GPUTarget("cuda", 80 if "*fp32" in signature.values() else 90, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": 4, "enable_fp_fusion": False})
    assert compiled.metadata.shared == 0, "words are passed between threads"
    if tool.exists():
        Path(sys.argv[1]).write_bytes(compiled.asm["cubin"])
        code = subprocess.run([tool, "-c", sys.argv[1]], check=True, capture_output=True, text=True).stdout
        assert "STL" not in code and "LDL" not in code, "registers are spilled"
        assert code.count("STG") == code.count("STG.E.128"), "stores of less than 16 bytes"
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="triton needs a C compiler")
def test_triton_compiles_to_16_byte_stores_without_spilling(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", COMPILE, str(tmp_path / "kernel.cubin")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
