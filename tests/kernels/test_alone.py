"""The kernels are importable alone: torch and numpy, nothing else of what the package depends on."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
BLOCKED = "diffusers jsonschema matplotlib pandas PIL pyarrow safetensors snakemake tokenizers tqdm transformers yaml"
SCRIPT = f"""
import sys
for name in {BLOCKED.split()!r}:
    sys.modules[name] = None  # makes `import name` fail
import torch
from silmm import kernels
assert "silmm.kernels._C" not in sys.modules, "the extension is looked up at the first call"
print(kernels.nucleus(torch.zeros(2, 5), torch.tensor([0.0, 0.99], dtype=torch.float64)).tolist())
"""


def test_kernels_need_torch_alone() -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "[0, 4]\n"


def test_python_m_lists_the_implementations(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("silmm.kernels", run_name="__main__")
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["nucleus", "reference"],
        ["nucleus", "cpp"],
        ["decode_attention", "reference"],
        ["decode_attention", "cpp"],
        *([op, impl] for op in ("divdrop", "kc_dpo", "selective_logps") for impl in ("reference", "cpp", "triton", "cuda")),
    ]
