"""A conda channel in a folder, with the two packages that envs/silmm.yaml asks of conda-forge: python and pip.

`python` is a virtual environment of the running interpreter, so its standard library stays where that one's is; `pip`
is the installed pip. Both are ordinary conda packages, and rattler's own indexer writes the channel's list of them.
"""

from __future__ import annotations

import asyncio
import io
import json
import platform
import sys
import tarfile
import venv
from importlib import metadata
from pathlib import Path
from typing import Any

from rattler import Subdir
from rattler.index import index_fs

HERE = str(Subdir.current())  # linux-64


def make_channel(folder: Path) -> None:
    """Write the packages and their index."""
    interpreter = folder.parent / "python"
    venv.create(interpreter, symlinks=True)  # without pip, which is a package of its own
    files = {path.relative_to(interpreter).as_posix(): path for path in interpreter.rglob("*") if is_file(path)}
    write_package(folder, HERE, "python", platform.python_version(), files, {"depends": []})
    found = metadata.distribution("pip")
    files = {f"site-packages/{path}": Path(str(path.locate())) for path in found.files or [] if belongs(str(path))}
    write_package(folder, "noarch", "pip", found.version, files, {"depends": ["python"], "noarch": "python"})
    asyncio.run(index_fs(folder))


def is_file(path: Path) -> bool:
    """Whether a virtual environment needs it; activation is the stand-in's own."""
    links_to_folders = path.is_symlink() and path.name == "lib64"
    return not links_to_folders and (path.is_symlink() or path.is_file()) and "ctivate" not in path.name


def belongs(name: str) -> bool:
    """Whether a file of the installed pip is part of the package: its commands are made for each environment."""
    return name.startswith(("pip/", "pip-")) and "__pycache__" not in name


def write_package(
    channel: Path, subdir: str, name: str, version: str, files: dict[str, Path], index: dict[str, Any]
) -> None:
    """A `.tar.bz2` of these files, with the minimum that conda's format asks for."""
    about: dict[str, Any] = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "subdir": subdir,
        **index,
    }
    paths = [
        {"_path": at, "path_type": "softlink" if path.is_symlink() else "hardlink"}
        for at, path in sorted(files.items())
    ]
    info: dict[str, Any] = {"index": about, "paths": {"paths_version": 1, "paths": paths}}
    if index.get("noarch"):
        info["link"] = {"package_metadata_version": 1, "noarch": {"type": "python"}}
    (channel / subdir).mkdir(parents=True, exist_ok=True)
    with tarfile.open(channel / subdir / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as package:
        for kind, value in info.items():
            text = json.dumps(value).encode()
            entry = tarfile.TarInfo(f"info/{kind}.json")
            entry.size = len(text)
            package.addfile(entry, io.BytesIO(text))
        for at, path in sorted(files.items()):
            package.add(path, at, recursive=False)


if __name__ == "__main__":
    make_channel(Path(sys.argv[1]))
