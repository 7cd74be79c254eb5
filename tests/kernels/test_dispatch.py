"""Which implementation a call gets: by device, by what is there, by SILMM_IMPL, and by what of it the others do."""

from __future__ import annotations

import pytest
import torch

from silmm.kernels import _dispatch
from silmm.kernels._dispatch import READY, choose, pick

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(autouse=True)
def an_op_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """`op` has every implementation, `small` the first two; no variable steers."""
    monkeypatch.setattr(_dispatch, "OPS", {"op": _dispatch.ALL, "small": _dispatch.ALL[:2]})
    for name in ("SILMM_IMPL", "SILMM_ISA", "TRITON_INTERPRET"):
        monkeypatch.delenv(name, raising=False)


def states(monkeypatch: pytest.MonkeyPatch, **missing: str) -> None:
    """All implementations are ready but the ones named, with the reason."""
    monkeypatch.setattr(_dispatch, "state", lambda impl: missing.get(impl, READY))


def test_auto_takes_the_fastest_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch)
    assert choose("op", "auto", CPU) == "cpp"
    assert choose("op", "auto", CUDA) == "cuda"
    assert choose("small", "auto", CUDA) == "reference"
    assert pick("small", "cuda").why == "the only one for cuda tensors"


def test_auto_goes_on_to_the_next_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch, cuda="no nvcc")
    assert pick("op", "cuda") == ("triton", "cuda: no nvcc; the fastest here")
    states(monkeypatch, cuda="no nvcc", triton="no triton", cpp="no compiler")
    assert pick("op", "cuda") == ("reference", "cuda: no nvcc; triton: no triton")
    assert pick("op", "cpu") == ("reference", "cpp: no compiler")


def test_a_limit_leaves_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch)
    assert choose("op", "auto", CPU, "float64") == "reference"
    assert pick("op", "cpu", "float64").why == "nothing else does float64"
    assert choose("op", "reference", CPU, "float64") == "reference"
    with pytest.raises(ValueError, match="impl: 'cpp' does not do float64; 'reference' and 'auto' do"):
        choose("op", "cpp", CPU, "float64")


def test_silmm_impl(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch)
    monkeypatch.setenv("SILMM_IMPL", "triton")
    assert pick("op", "cuda") == ("triton", "SILMM_IMPL says so")
    assert choose("op", "auto", CPU) == "cpp", "it does not serve CPU tensors"
    assert choose("small", "auto", CUDA) == "reference", "that op has no Triton"
    assert choose("op", "cuda", CUDA) == "cuda", "a call's own word counts more"
    monkeypatch.setenv("SILMM_IMPL", "reference")
    assert choose("op", "auto", CPU) == "reference"
    monkeypatch.setenv("SILMM_IMPL", "fast")
    with pytest.raises(ValueError, match="SILMM_IMPL: expected auto, reference, cpp, triton, cuda, given 'fast'"):
        choose("op", "auto", CPU)


def test_silmm_impl_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch, cpp="no compiler")
    monkeypatch.setenv("SILMM_IMPL", "cpp")
    with pytest.raises(RuntimeError, match="impl: 'cpp' is not available: no compiler"):
        choose("op", "auto", CPU)


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch)
    with pytest.raises(ValueError, match="impl: expected auto, reference or cpp, given 'cuda'"):
        choose("small", "cuda", CUDA)
    with pytest.raises(ValueError, match="impl: 'cpp' serves CPU tensors, given tensors on cuda"):
        choose("op", "cpp", CUDA)
    for impl in ("triton", "cuda"):
        with pytest.raises(ValueError, match=f"impl: '{impl}' serves tensors on a CUDA device, given tensors on cpu"):
            choose("op", impl, CPU)


def test_the_interpreter_serves_cpu_tensors_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    states(monkeypatch)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose("op", "triton", CPU) == "triton"
    assert choose("op", "auto", CPU) == "cpp"


def test_isa(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _dispatch.isa() == 2
    monkeypatch.setenv("SILMM_ISA", "base")
    assert _dispatch.isa() == 0
    monkeypatch.setenv("SILMM_ISA", "sse")
    with pytest.raises(ValueError, match="SILMM_ISA: expected base, avx2, avx512, given 'sse'"):
        _dispatch.isa()


def test_the_extension_tells_what_the_processor_has() -> None:
    module, state = _dispatch.extension()
    if module is None:
        pytest.skip(state)
    assert module.isa() in range(len(_dispatch.ISAS))


def test_an_extension_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "ABI", -1)
    monkeypatch.setattr(_dispatch, "extension", _dispatch.extension.__wrapped__)
    said = _dispatch.state("cpp")
    assert "expected -1): build it with `pip install" in said or "does not load" in said
