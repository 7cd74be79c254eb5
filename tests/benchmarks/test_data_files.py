"""Official files: found, fetched from a server, and refused where they are others."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from silmm.benchmarks import data_files
from silmm.benchmarks.interface import Benchmark, DataFile
from silmm.errors import InputError
from tests.benchmarks.toy import TOY

CONTENT = b"t0 dark a prompt\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Benchmark]:
    """The toy benchmark with two files on a server on this machine."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "toy.txt").write_bytes(CONTENT)
    (site / "more.txt").write_bytes(b"more")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    files = (
        DataFile("toy.txt", f"{host}/toy.txt", hashlib.sha256(CONTENT).hexdigest()),
        DataFile("sub/more.txt", f"{host}/more.txt", None),
    )
    yield TOY._replace(files=files)
    server.shutdown()
    server.server_close()


def test_missing_files_are_listed_or_fetched(published: Benchmark, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(InputError, match=r"2 of 2 official files of toy are missing \(toy.txt, sub/more.txt\)"):
        data_files.require(published, data)
    data_files.require(published, data, download=True)
    assert (data / "toy.txt").read_bytes() == CONTENT
    assert (data / "sub/more.txt").read_bytes() == b"more"
    data_files.require(published, data)


def test_files_that_are_there_stay(published: Benchmark, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "toy.txt").write_text("mine")
    data_files.require(published, data, download=True)
    assert (data / "toy.txt").read_text() == "mine"
    assert data_files.others(published.files, data_files.hashes(published, data)) == ["toy.txt"]


def test_another_content_is_refused(published: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "site/toy.txt").write_text("other")
    with pytest.raises(InputError, match="sha256 is .*: expected .*"):
        data_files.require(published, tmp_path / "data", download=True)
    assert not (tmp_path / "data/toy.txt").exists()


@pytest.mark.parametrize(("name", "reason"), [("nothing.txt", "404"), ("", "Name or service|unknown url|no host")])
def test_what_cannot_be_fetched_is_said(published: Benchmark, tmp_path: Path, name: str, reason: str) -> None:
    url = published.files[0].url.replace("toy.txt", name) if name else "nowhere:toy.txt"
    broken = published._replace(files=(DataFile("toy.txt", url, None),))
    with pytest.raises(InputError, match=f"({reason}).*: give a folder that has toy.txt"):
        data_files.require(broken, tmp_path / "data", download=True)
