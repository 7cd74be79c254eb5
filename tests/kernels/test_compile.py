"""The GPU kernels compile where there is no GPU: Triton's to cubin ahead of time, CUDA's by nvcc; nothing spills."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from silmm.kernels import _dispatch
from tests.kernels.setup_script import ROOT, setup_script

KERNELS = Path(_dispatch.__file__).parent
TRITON_OPS = [op for op, names in _dispatch.OPS.items() if "triton" in names]
CUDA_FILES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
# Kernels that write as much as they read: they must do so 16 bytes at a time.
WIDE_STORES = {"_divdrop_fwd_kernel", "_divdrop_bwd_kernel", "_kc_dpo_grad_kernel", "_kc_dpo_scale_kernel"}

# Without the interpreter's flag, which is read when a kernel is defined, so in a process of its own. Pointers and sizes
# are multiples of 16, as a launch finds them to be for tensors of usual widths.
SCRIPT = """
import importlib, json, pathlib, subprocess, sys, tempfile
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
cubin = pathlib.Path(tempfile.mkdtemp(dir=sys.argv[1]), "kernel.cubin")
for op in sys.argv[2:]:
    for kernel, signature, constants in importlib.import_module(f"silmm.kernels.{op}_triton").AOT:
        names = list(kernel.arg_names)
        sixteen = [i for i, name in enumerate(names) if signature[name][:1] == "*" or signature[name] in ("i32", "i64")]
        attrs = {(i,): [["tt.divisibility", 16]] for i in sixteen}
        for arch in (80, 90):
            source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attrs)
            made = compile(source, target=GPUTarget("cuda", arch, 32), options={"enable_fp_fusion": False})
            cubin.write_bytes(made.asm["cubin"])
            command = [knobs.nvidia.cuobjdump.path, "-res-usage", str(cubin)]
            usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            row = {"op": op, "kernel": kernel.__name__, "signature": signature, "constants": constants, "arch": arch}
            print(json.dumps({**row, "usage": usage, "ptx": made.asm["ptx"]}))
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Every entry of every op's table, for both architectures."""
    pytest.importorskip("triton")
    folder = tmp_path_factory.mktemp("compiled")
    environment = {
        **os.environ,
        "TRITON_INTERPRET": "0",
        "TRITON_CACHE_DIR": str(folder),
        "PYTHONPATH": str(KERNELS.parents[1]),
    }
    command = [sys.executable, "-c", SCRIPT, str(folder), *TRITON_OPS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.xdist_group("compiled")
@pytest.mark.parametrize("op", TRITON_OPS)
def test_triton_compiles_ahead_of_time(op: str, compiled: list[dict[str, Any]]) -> None:
    rows = [row for row in compiled if row["op"] == op]
    assert {row["arch"] for row in rows} == {80, 90}
    for row in rows:
        what = f"{row['kernel']} {row['signature']} {row['constants']} sm_{row['arch']}"
        assert re.search(r"REG:\d+ STACK:0 .*LOCAL:0 ", row["usage"]), f"{what}: {row['usage']}"
        if row["kernel"] in WIDE_STORES:
            assert re.search(r"st\.global\S*\.v4\.b32", row["ptx"]), f"{what}: no 128-bit stores"


@pytest.mark.parametrize("source", CUDA_FILES, ids=lambda path: path.name)
def test_cuda_compiles_without_spills(source: Path, tmp_path: Path) -> None:
    setup = setup_script()
    try:
        nvcc = setup["nvcc_program"]()
    except RuntimeError as error:
        pytest.skip(str(error))
    # One architecture: twice the time tells little more, and the extension is built for both.
    flags = [*setup["NVCCFLAGS"], "-arch=sm_90", "-Xptxas", "-v", "-cubin"]
    command = [nvcc, *flags, str(source), "-o", str(tmp_path / "out.cubin")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "for 'sm_90'" in done.stderr
    spilled = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert spilled, "ptxas said nothing"
    assert set(spilled) == {("0", "0")}, done.stderr
    assert "warning" not in done.stderr, done.stderr


def test_the_extension_is_built_for_both_architectures() -> None:
    module, reason = _dispatch.extension("_CUDA")
    if module is None:
        pytest.skip(reason)
    assert module.archs.split() == ["80", "90"]
