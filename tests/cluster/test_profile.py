"""What the profile for SLURM makes of the workflow: dry runs, which need no cluster."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from snakemake_executor_plugin_slurm.partitions import read_partition_file

from ..workflow.conftest import ROOT, run_snakemake

pytestmark = pytest.mark.xdist_group("profile")
PROFILE = ROOT / "workflow/profiles/slurm"
PAPER = ("--configfile", "config/paper/janus_pro.yaml", "--config", "shards=2")


def asked(folder: Path, *words: str) -> dict[str, dict[str, str]]:
    """The resources of each rule that a dry run with the profile prints."""
    done = run_snakemake(ROOT, folder, "-n", *words, "--workflow-profile", str(PROFILE))
    found = re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: (.*)", done.stdout, flags=re.MULTILINE)
    return {rule: dict(item.split("=", 1) for item in items.split(", ")) for rule, items in found}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What the paper's run asks for at first."""
    return asked(tmp_path_factory.mktemp("first"), *PAPER)


def test_a_further_attempt_asks_for_more_memory(first: dict[str, dict[str, str]], tmp_path: Path) -> None:
    assert first["align"]["mem_mb"] == "64000" and first["pairs"]["mem_mb"] == "1000"
    third = asked(tmp_path, *PAPER, "--attempt", "3")
    assert {rule: int(of["mem_mb"]) for rule, of in third.items()} == {
        rule: 3 * int(of["mem_mb"]) for rule, of in first.items()
    }


def test_what_it_leaves_to_the_user_can_be_taken_as_it_stands(first: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """And a job gets all the GPUs that it is given: the default profile's limit would cut them to one."""
    text = (PROFILE / "config.yaml").read_text()
    block = "\n".join(line[1:] for line in text.splitlines() if re.match(r"#(set-resources:|  \w+: \{)", line))
    own = yaml.safe_load(block)["set-resources"]
    assert set(own) == {rule for rule, of in first.items() if of.get("gpu") == "1"}
    for rule, of in own.items():
        assert (str(of["gpu"]), str(of["runtime"])) == (first[rule]["gpu"], first[rule]["runtime"])
        assert of["mem_mb"] == f"{first[rule]['mem_mb']} * attempt"
    own["align"]["gpu"] = 4
    words = [f"{rule}:{name}={value}" for rule, of in own.items() for name, value in of.items()]
    taken = asked(tmp_path, *PAPER, "--set-resources", *words)
    changed = {"gpu": "4", "gpu_model": "a100", "slurm_partition": "gpu"}
    assert taken == {**first, "align": {**first["align"], **changed}}


def test_every_job_fits_a_partition(first: dict[str, dict[str, str]]) -> None:
    partitions = read_partition_file(PROFILE / "partitions.yaml")
    for of in first.values():
        fits = [p.name for p in partitions if int(of["runtime"]) <= p.limits.max_runtime]
        assert ("gpu" if "gpu" in of else "cpu") in fits
