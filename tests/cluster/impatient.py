"""`snakemake` that asks SLURM every second how its jobs are. As it comes, it waits ten seconds more each time that none
has ended, which is kind to a cluster and long for a test."""

from __future__ import annotations

import asyncio
import sys

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def sleep(self: RemoteExecutor) -> None:
    await asyncio.sleep(1)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep
    sys.argv[0] = "snakemake"
    sys.exit(main())
