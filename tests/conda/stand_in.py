"""A stand-in for the program `conda`: it answers what Snakemake 9 asks of it, and nothing else.

python stand_in.py FOLDER COMMAND.. FOLDER/channels/NAME is the channel NAME. Solver, packages and environments are
rattler's and real; the pip section is installed by the environment's own pip with conda's own command.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "24.7.1"  # the oldest that Snakemake takes
ACTIVATE = 'export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n'


def write_programs(folder: Path) -> None:
    """FOLDER/bin/conda, for PATH, and FOLDER/bin/activate, which Snakemake sources."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/activate").write_text(ACTIVATE)
    program = folder / "bin/conda"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{Path(__file__).resolve()}" "{folder}" "$@"\n')
    program.chmod(0o755)


def create(folder: Path, file: Path, prefix: Path) -> None:
    """`conda env create`: the environment of a file at this prefix."""
    import rattler
    import yaml

    wanted = yaml.safe_load(file.read_text())
    specs = [line for line in wanted["dependencies"] if isinstance(line, str)]
    pinned = [line for group in wanted["dependencies"] if isinstance(group, dict) for line in group["pip"]]
    channels = [rattler.Channel((folder / "channels" / name).as_uri()) for name in wanted["channels"]]
    platforms = [rattler.Subdir.current(), rattler.Subdir("noarch")]

    async def install() -> None:
        records = await rattler.solve(channels, specs, platforms=platforms)
        await rattler.install(records, prefix, cache_dir=folder / "cache", show_progress=False)

    asyncio.run(install())
    with tempfile.NamedTemporaryFile("w", suffix=".requirements.txt") as listed:
        listed.write("\n".join(pinned))
        listed.flush()
        pip = [str(prefix / "bin/python"), "-m", "pip", "install", "-U", "-r", listed.name, "--exists-action=b"]
        subprocess.run(pip, check=True)


def main(folder: Path, *words: str) -> None:
    """Answer one call; SystemExit for one that is not known."""
    match words:
        case ("info", "--json"):
            import rattler

            print(json.dumps({"conda_prefix": str(folder), "platform": str(rattler.Subdir.current())}))
        case ("--version",):
            print("conda", VERSION)
        case ("config", "--get", "channel_priority", "--json"):
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ("env", "create", *options):
            given = dict(itertools.pairwise(options))
            create(folder, Path(given["--file"]), Path(given["--prefix"]))
        case ("clean", "-y", *_):
            pass  # its downloads are in a folder of the test
        case _:
            raise SystemExit(f"the stand-in for conda does not know `conda {' '.join(words)}`")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
