"""The kernels are importable alone: torch and numpy, nothing else of what the package depends on."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from silmm.kernels._dispatch import ALL

SOURCE = Path(__file__).parents[2] / "src"
BLOCKED = (
    "diffusers jsonschema matplotlib pandas PIL pyarrow safetensors snakemake tokenizers tqdm transformers triton yaml"
)
SCRIPT = f"""
import sys
for name in {BLOCKED.split()!r}:
    sys.modules[name] = None  # makes `import name` fail
import torch
from silmm import kernels
assert "silmm.kernels._C" not in sys.modules, "the extension is looked up at the first call"
for states in kernels.available().values():
    assert "not installed" in states.get("triton", "not installed"), states
print(kernels.nucleus(torch.zeros(2, 5), torch.tensor([0.0, 0.99], dtype=torch.float64)).tolist())
"""


def test_kernels_need_torch_alone() -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "[0, 4]\n"


FORK = """
import os, torch
from silmm import kernels
def call():
    x_PTF = torch.ones(2, 3, 9)
    names = {"keys_P": torch.tensor([1, 2]), "samples_N": torch.arange(4), "positions_T": torch.arange(3)}
    dropped = kernels.divdrop(x_PTF, x_PTF, **names, layer=1, rate=0.5)
    tokens = kernels.nucleus(torch.zeros(2, 5), torch.tensor([0.0, 0.99], dtype=torch.float64))
    return tokens.tolist(), dropped.double().sum().item()
torch.set_num_threads(2)
wanted = call()
if os.fork() == 0:
    os._exit(0 if call() == wanted else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_can_call_the_kernels() -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == "0\n"


def test_python_m_lists_the_implementations(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("silmm.kernels", run_name="__main__")
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["nucleus", "reference"],
        ["nucleus", "cpp"],
        ["decode_attention", "reference"],
        ["decode_attention", "cpp"],
        *([op, impl] for op in ("divdrop", "kc_dpo", "selective_logps") for impl in ALL),
    ]
