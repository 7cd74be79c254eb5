"""The cluster of these tests, and Snakemake on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .slurm import INSTALL, cluster, missing


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a SLURM that runs until the last test; skipped where it is not installed."""
    if missing():
        pytest.skip(f"no {', '.join(missing())}: {INSTALL}")
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment
