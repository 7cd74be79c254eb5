"""`silmm doctor`: what is there, which implementation of each kernel serves, and why."""

from __future__ import annotations

import os
import re

import pytest

from silmm import cli, doctor
from silmm.kernels import _dispatch


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets variables: here they end with the test. None steers the kernels."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for name in doctor.VARIABLES:
        os.environ.pop(name, None)


def sections(text: str) -> dict[str, list[list[str]]]:
    """Title to lines, each split into its columns."""
    found: dict[str, list[list[str]]] = {}
    for block in text.strip().split("\n\n"):
        title, *lines = block.splitlines()
        found[title] = [re.split(r"\s{2,}", line.strip()) for line in lines]
    return found


def report(capsys: pytest.CaptureFixture[str]) -> dict[str, list[list[str]]]:
    """What the command prints."""
    assert cli.main(["doctor"]) == 0
    return sections(capsys.readouterr().out)


def test_it_tells_versions_devices_and_compilers(capsys: pytest.CaptureFixture[str]) -> None:
    said = report(capsys)
    assert [line[0] for line in said["versions"]] == ["silmm", "Python", *doctor.PACKAGES]
    assert [line[0] for line in said["devices"]][:2] == ["processor", "instruction set"]
    assert [line[0] for line in said["building"]] == ["C++ compiler", "nvcc"]
    assert [line[0] for line in said["extensions"]] == ["C++", "CUDA"]
    assert "environment" not in said, "no variable is set"


def test_it_tells_what_auto_picks_and_why(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"cpp": "no compiler", "triton": "no triton", "cuda": "no nvcc"}
    monkeypatch.setattr(_dispatch, "state", lambda impl: reasons.get(impl, _dispatch.READY))
    said = report(capsys)
    assert said["implementations"] == [
        ["reference", "ready"], ["cpp", "not there", "no compiler"], ["triton", "not there", "no triton"],
        ["cuda", "not there", "no nvcc"],
    ]  # fmt: skip
    assert ["nucleus, cpu", "reference", "cpp: no compiler"] in said["kernels"]
    assert {line[0].split(",")[0] for line in said["kernels"]} == set(_dispatch.OPS)
    monkeypatch.setattr(_dispatch, "state", lambda impl: _dispatch.READY)
    assert ["nucleus, cpu", "cpp", "the fastest here"] in report(capsys)["kernels"]


def test_it_tells_the_variables_that_steer(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ |= {"SILMM_IMPL": "reference", "SILMM_ISA": "base"}
    said = report(capsys)
    assert said["environment"] == [["SILMM_IMPL", "reference"], ["SILMM_ISA", "base"]]
    assert all(line[1:] == ["reference", "SILMM_IMPL says so"] for line in said["kernels"])
    if _dispatch.extension()[0]:
        assert said["devices"][1][1] == "base"


def test_without_the_extensions(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "extension", lambda name="_C": (None, f"{name} does not load"))
    said = report(capsys)
    assert said["extensions"] == [["C++", "none", "_C does not load"], ["CUDA", "none", "_CUDA does not load"]]
    assert said["devices"][1] == ["instruction set", "unknown", "the C++ extension is not there to tell"]


@pytest.mark.parametrize("name", ["SILMM_IMPL", "SILMM_ISA"])
def test_wrong_values_are_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    os.environ[name] = "fast"
    assert cli.main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"silmm doctor: error: {name}: expected ") and "'fast'" in said
