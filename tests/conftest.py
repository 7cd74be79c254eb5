"""What must be set before torch is imported, the drills, and the one smoke run that several tests look at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .fuzz.memory import RESIDENT, most_of_all
from .workflow.conftest import ROOT, run_snakemake

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors are slower on several threads
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("SILMM_GPU", "share")  # a test that holds a GPU starts commands that would wait for it
if not Path("/dev/nvidiactl").exists():  # no GPU: Triton's kernels run in its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is defined, Triton's own ones included
SMOKE = ("--configfile", "config/smoke.yaml")


class Smoke(NamedTuple):
    """A run of the real stages through Snakemake with hardly any data."""

    folder: Path  # where Snakemake worked
    output: str

    @property
    def results(self) -> Path:
        """What the run made."""
        return self.folder / "results/smoke"


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Smoke:
    """The README's first command on the smoke config; a test that asks for it belongs to the group `smoke`."""
    if not (ROOT / "checkpoints").is_dir():
        pytest.skip("no base checkpoint to start from")
    folder = tmp_path_factory.mktemp("smoke")
    return Smoke(folder, run_snakemake(ROOT, folder, "--cores", "all", *SMOKE).stdout)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--drills",
        type=Path,
        metavar="FILE",
        help="run the long drills alone, which are left out otherwise, and write what they found to this JSON file",
    )


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--drills"):
        config.pluginmanager.register(DrillReport(file))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drills run when they are asked for, and then nothing else does."""
    drilling = config.getoption("--drills") is not None
    left_out = [item for item in items if bool(item.get_closest_marker("drill")) != drilling]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(autouse=True)
def drill_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """No process of a drill has more than RESIDENT bytes; what the largest had stands in the drill's row."""
    yield
    if request.node.get_closest_marker("drill"):
        request.node.user_properties.append(("GiB", round(most_of_all() / 2**30, 2)))
        assert most_of_all() < RESIDENT


class DrillReport:
    """Collects each drill's name, outcome and seconds, and the figure that it recorded (`record_property`)."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, object]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Written after every drill: an interrupted run keeps those that it did."""
        name, properties = report.nodeid.removeprefix("tests/"), dict(report.user_properties)
        if report.when == "call" or (report.when == "setup" and report.failed):
            row = {"name": name, "passed": report.passed, "seconds": round(report.duration, 1)}
            self.rows.append(row | {"figure": properties.get("figure")})
        elif report.when == "teardown" and self.rows and self.rows[-1]["name"] == name:
            self.rows[-1] |= {"GiB": properties.get("GiB"), "passed": bool(self.rows[-1]["passed"]) and report.passed}
        else:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
