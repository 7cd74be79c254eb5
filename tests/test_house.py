"""The files that must agree with each other, and what no file may hold."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import silmm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCE_SUFFIXES = {".cpp", ".cu", ".h", ".py", ".sh", ".smk", ".toml", ".yaml"}


def pins(lines: list[str]) -> dict[str, str]:
    """Name to version of `name==version` lines; comments and empty lines are skipped."""
    entries = [line.split("==") for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(name): version.strip() for name, version in entries}


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text().splitlines())


def tracked() -> list[Path]:
    """The files that git tracks."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_one_version_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert silmm.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version} " in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_what_the_project_names() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    assert {*extras["cluster"], *extras["judges"]} <= set(extras["test"])
    named = [*project["dependencies"], *extras["test"]]
    for requirement in map(Requirement, named):
        version = CONSTRAINTS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} excludes the tested {version}"
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert str(requirement.specifier) == f"=={CONSTRAINTS[requirement.name]}"


def test_constraints_pin_what_those_need_in_turn() -> None:
    todo = [Requirement(name) for name in CONSTRAINTS]
    for requirement in todo:
        try:
            needs = map(Requirement, metadata.requires(requirement.name) or [])
        except metadata.PackageNotFoundError:
            continue  # for another platform, or not in this environment
        for need in needs:
            wanted = need.marker is None or need.marker.evaluate({"extra": ""})
            # torch's CUDA builds pin their own libraries
            if wanted and not need.name.startswith(("cuda-", "nvidia-")):
                assert canonicalize_name(need.name) in CONSTRAINTS, f"{requirement.name} needs {need}"


def test_the_rules_environment_is_up_to_date() -> None:
    program = ROOT / "workflow/scripts/rule_environment.py"
    done = subprocess.run([sys.executable, str(program), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_environment_has_what_their_programs_import() -> None:
    *_, pip = yaml.safe_load((ROOT / "envs/silmm.yaml").read_text())["dependencies"]
    own = {"silmm", *(path.stem for path in (ROOT / "paper_figures").glob("*.py"))}
    imported = {
        name.split(".")[0]
        for folder in ("src", "paper_figures")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    packages = metadata.packages_distributions()
    needed = {canonicalize_name(packages[name][0]) for name in imported - own - sys.stdlib_module_names}
    judges = PROJECT["project"]["optional-dependencies"]["judges"]  # asked for by name, with what installs them
    assert needed - {canonicalize_name(Requirement(name).name) for name in judges} <= set(pins(pip["pip"]))


def test_no_source_file_is_too_long() -> None:
    lengths = {path: len(path.read_bytes().splitlines()) for path in tracked() if path.suffix in SOURCE_SUFFIXES}
    assert {path.name: n for path, n in lengths.items() if n > 600} == {}


def test_no_machine_paths_or_registry_hosts() -> None:
    path_of_a_machine = re.compile(rb"/(?:work|farm|root)/")
    host_of_a_registry = re.compile(rb"(?:pypi|npmjs|pythonhosted)\.org")
    for path in tracked():
        content = path.read_bytes()
        for pattern in (path_of_a_machine, host_of_a_registry):
            found = pattern.search(content)
            assert not found, f"{path.relative_to(ROOT)}: {content[max(0, found.start() - 30) : found.end() + 30]!r}"
