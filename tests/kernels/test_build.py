"""Building the extensions: what is missing is said in one line, and only SILMM_CUDA=1 makes it an error.

A build that fails removes the extension from its sources, so it runs in a copy of them; a stand-in for the compilers
writes empty files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from silmm.kernels import _dispatch
from tests.kernels.setup_script import ROOT, setup_script

pytest.importorskip("pybind11")
ARCHS = "SILMM_CUDA_ARCHS: expected compute capabilities such as '80 90',"
COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do
    case "$1" in
        -o) : > "$2" ;;
        -MF) echo "out:" > "$2" ;;
    esac
    shift
done
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What setup.py needs of a checkout, and a folder `bin` that is all of the path."""
    shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "src" / "silmm").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    return tmp_path


def install(checkout: Path, *names: str) -> None:
    """Put stand-ins for compilers on the path."""
    for name in names:
        program = checkout / "bin" / name
        program.write_text(COMPILER)
        program.chmod(0o755)


def build(checkout: Path, **variables: str) -> tuple[int, str]:
    """Exit status and output of a build with nothing but `bin` on the path."""
    left_out = ("CXX", "CUDA_HOME", "SILMM_CUDA", "SILMM_CUDA_ARCHS")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"PATH": str(checkout / "bin"), **variables}
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", "lib", "--build-temp", "temp"]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def built(checkout: Path) -> list[str]:
    """The extensions that are there."""
    return sorted(path.name.split(".")[0] for path in (checkout / "lib").rglob("*.so"))


def test_without_a_compiler_the_reference_serves(checkout: Path) -> None:
    status, said = build(checkout)
    assert status == 0, said
    assert "silmm.kernels._C was not built; the plain-torch reference serves instead" in said
    assert "no C++ compiler found (looked for $CXX, c++, g++, clang++)" in said
    assert built(checkout) == []


def test_without_nvcc_only_cpp_is_built(checkout: Path) -> None:
    install(checkout, "c++")
    status, said = build(checkout)
    assert status == 0, said
    assert "silmm.kernels._CUDA was not built" in said and "nvcc not found" in said
    assert built(checkout) == ["_C"]


def test_cuda_1_without_nvcc_fails_with_the_reason(checkout: Path) -> None:
    install(checkout, "c++")
    status, said = build(checkout, SILMM_CUDA="1")
    assert status != 0
    assert "silmm.kernels._CUDA was not built, but SILMM_CUDA is 1. Reason: nvcc not found" in said


def test_cuda_0_skips_it(checkout: Path) -> None:
    install(checkout, "c++", "nvcc")
    status, said = build(checkout, SILMM_CUDA="0")
    assert status == 0, said
    assert "Reason: SILMM_CUDA is 0" in said
    assert built(checkout) == ["_C"]


def test_with_both_compilers_both_are_built(checkout: Path) -> None:
    install(checkout, "c++", "nvcc")
    status, said = build(checkout, SILMM_CUDA="1", SILMM_CUDA_ARCHS="9.0")
    assert status == 0, said
    assert built(checkout) == ["_C", "_CUDA"]
    ninja = next((checkout / "temp").rglob("_CUDA/build.ninja")).read_text()
    assert "code=sm_90 " in ninja and "code=compute_90" in ninja and "sm_80" not in ninja


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"SILMM_CUDA": "yes"}, "SILMM_CUDA: expected auto, 0, 1, given 'yes'"),
        ({"SILMM_CUDA_ARCHS": "hopper"}, f"{ARCHS} given 'hopper'"),
        ({"SILMM_CUDA_ARCHS": " "}, f"{ARCHS} given ''"),
    ],
)  # fmt: skip
def test_wrong_values_are_one_line(checkout: Path, variables: dict[str, str], line: str) -> None:
    install(checkout, "c++", "nvcc")
    status, said = build(checkout, **variables)
    assert status != 0
    assert said.splitlines()[-1] == line


def test_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_script()
    monkeypatch.delenv("SILMM_CUDA_ARCHS", raising=False)
    assert setup["cuda_archs"]() == ["80", "90"]
    monkeypatch.setenv("SILMM_CUDA_ARCHS", "8.0, 9.0a;100")
    assert setup["cuda_archs"]() == ["80", "90a", "100"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_cuda_extension_loads_and_a_call_says_why_not() -> None:
    module, state = _dispatch.extension("_CUDA")
    if module is None:
        pytest.skip(state)
    assert state == _dispatch.READY
    op = next((op for op, names in _dispatch.OPS.items() if "cuda" in names), None)
    if op is None:
        pytest.skip("no op has a CUDA implementation")
    with pytest.raises(RuntimeError, match="'cuda' is not available: built, but torch finds no CUDA device"):
        _dispatch.choose(op, "cuda", torch.device("cuda"))
