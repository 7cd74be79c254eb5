"""Write the rules' conda environment, envs/silmm.yaml, from pyproject.toml (what is needed) and constraints.txt (which
version). Run it where the tested set is installed (`make install`): the packages there say what they need in turn.

python workflow/scripts/rule_environment.py            write the file
python workflow/scripts/rule_environment.py --check    exit 1 if it is not up to date
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "envs/silmm.yaml"
PYTHON = "3.11"  # the one that constraints.txt is tested with
# Tools to build and to run with: no job imports them.
NOT_IN_RULES = {"ninja", "pybind11", "pygments", "snakemake"}
# torch's CUDA builds bring their own libraries, in versions of their own; a CPU build has none.
OF_CUDA = ("cuda-", "nvidia-")
TEXT = """\
# For `snakemake --use-conda` (docs/conda.md); written by workflow/scripts/rule_environment.py. The rules run this
# checkout's source. The C++ extension is taken where it was built for this Python; else the reference serves.
channels:
  - conda-forge
dependencies:
  - python ={python}
  - pip
  - pip:
      # what the stages import
{named}
      # what those need in turn: without a version here, each new environment would have another one
{in_turn}
"""


def pins() -> dict[str, str]:
    """`name==version` of constraints.txt, by the name in its normal form."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(line.partition("==")[0]): line for line in lines if line and not line.startswith("#")}


def named() -> set[str]:
    """The packages of pyproject.toml that jobs need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {str(canonicalize_name(Requirement(line).name)) for line in project["dependencies"]} - NOT_IN_RULES


def needs(name: str, extras: Iterable[str] = ()) -> list[Requirement]:
    """What an installed package needs, with these of its extras, under PYTHON."""
    requirements = map(Requirement, metadata.requires(name) or [])
    under = [{"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "extra": each} for each in ("", *extras)]
    return [need for need in requirements if need.marker is None or any(map(need.marker.evaluate, under))]


def closure(names: set[str]) -> set[str]:
    """The packages and all that they need. SystemExit for one that is not installed."""
    found = set(names)
    todo: list[tuple[str, set[str]]] = [(name, set()) for name in sorted(names)]
    for name, extras in todo:
        try:
            new = needs(name, extras)
        except metadata.PackageNotFoundError:
            raise SystemExit(f"{name} is not installed, so what it needs is unknown: run `make install`") from None
        for need in new:
            other = canonicalize_name(need.name)
            if not other.startswith(OF_CUDA) and (other not in found or need.extras):
                todo += [(other, need.extras)] if (other, need.extras) not in todo else []
                found.add(other)
    return found


def text() -> str:
    """The right content of the file. SystemExit where constraints.txt lacks a package."""
    pinned, direct = pins(), named()
    everything = closure(direct)
    if missing := sorted(everything - set(pinned)):
        raise SystemExit(f"constraints.txt has no {', '.join(missing)}: add the version that is installed")
    groups = (direct, everything - direct)
    lines = ["\n".join(f"      - {pinned[name]}" for name in sorted(group)) for group in groups]
    return TEXT.format(python=PYTHON, named=lines[0], in_turn=lines[1])


def main() -> int:
    """Write or check the file; 1 when `--check` finds that it is not up to date."""
    parser = argparse.ArgumentParser(description="Write envs/silmm.yaml.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if the file is not up to date")
    check = parser.parse_args().check
    right = text()
    stale = not ENVIRONMENT.exists() or ENVIRONMENT.read_text(encoding="utf-8") != right
    if stale and check:
        print("envs/silmm.yaml is not up to date: run python workflow/scripts/rule_environment.py")
    elif stale:
        ENVIRONMENT.write_text(right, encoding="utf-8")
    return int(check and stale)


if __name__ == "__main__":
    raise SystemExit(main())
