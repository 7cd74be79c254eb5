"""`snakemake --use-conda` with the real envs/silmm.yaml: what it takes from PyPI is really installed, and the jobs run
in it. What stands in for conda, and for the two packages of conda-forge, stands in stand_in.py and channel.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.utils import canonicalize_name

from ..conftest import SMOKE, Smoke
from ..workflow.conftest import ROOT, contract_files, run_snakemake
from .stand_in import write_programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("smoke"),
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="envs/silmm.yaml asks for Python 3.11"),
]
LAST = "results/smoke/discrete/seed0/silmm/iter1/ckpt"
RUN = (LAST, "--cores", "all", "--use-conda", *SMOKE, "--config", "lmms=[discrete]")


class InConda(NamedTuple):
    """A run of one iteration in the environment."""

    folder: Path
    prefix: Path
    output: str


@pytest.fixture(scope="module")
def in_conda(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InConda]:
    """From the shipped checkpoint to the first policy. The environment (2 GB) goes at the end."""
    if not (ROOT / "checkpoints").is_dir():
        pytest.skip("no base checkpoint to start from")
    conda, folder = tmp_path_factory.mktemp("conda"), tmp_path_factory.mktemp("in_conda")
    write_programs(conda)
    program = [sys.executable, str(Path(__file__).with_name("channel.py")), str(conda / "channels/conda-forge")]
    subprocess.run(program, check=True)
    outside = conda / "outside/python"
    outside.parent.mkdir()
    outside.write_text("#!/bin/sh\necho a job ran outside of its environment >&2\nexit 1\n")
    outside.chmod(0o755)
    variables = {
        "PATH": f"{conda}/bin:{outside.parent}:{os.defpath}",
        "PIP_COMPILE": "0",  # takes a minute; the jobs compile what they import, and so leave a trace
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": "",
    }
    try:
        done = run_snakemake(ROOT, folder, *RUN, env=variables)
        prefixes = [path for path in (folder / ".snakemake/conda").iterdir() if path.is_dir()]
        assert len(prefixes) == 1  # one environment for all rules
        yield InConda(folder, prefixes[0], done.stdout)
    finally:
        shutil.rmtree(folder / ".snakemake/conda", ignore_errors=True)


def test_smoke_in_the_environment_made_by_a_stand_in_for_conda(in_conda: InConda, smoke: Smoke) -> None:
    """`python` on the PATH of the run fails, so each job that ends well has run the environment's."""
    assert in_conda.output.count("Activating conda environment: ") == 8  # of the base, and one iteration's stages
    made, without = contract_files(in_conda.folder / "results/smoke"), contract_files(smoke.results)
    assert len(made) > 20
    assert made == {name: without[name] for name in made}


def test_the_environment_is_the_one_of_the_file_and_nothing_else(in_conda: InConda) -> None:
    file = ROOT / "envs/silmm.yaml"
    assert in_conda.prefix.with_suffix(".yaml").read_bytes() == file.read_bytes()
    *_, pip = yaml.safe_load(file.read_text())["dependencies"]
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in pip["pip"])}
    packages = metadata.distributions(path=[str(in_conda.prefix / "lib/python3.11/site-packages")])
    installed = {canonicalize_name(package.name): package.version.partition("+")[0] for package in packages}
    of_cuda = {name for name in installed if name.startswith(("cuda-", "nvidia-"))}  # a CUDA build of torch brings them
    assert {name: installed[name] for name in set(installed) - of_cuda - {"pip"}} == pinned


def test_the_jobs_imported_the_environment_s_packages(in_conda: InConda) -> None:
    """Nothing was compiled when they were installed: who imports one, compiles it."""
    packages = in_conda.prefix / "lib/python3.11/site-packages"
    for name in ("torch", "transformers", "numpy", "pyarrow", "safetensors"):
        assert list((packages / name / "__pycache__").glob("__init__.*.pyc"))
