"""A disk that is full, a folder that is closed, a reader that has gone: one line, and nothing half-written."""

from __future__ import annotations

import errno
import functools
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from silmm import atomic, cli
from tests.faults.conftest import COMMANDS, Site, refusal, run

ROOM = 64  # bytes: less than any file that a stage writes
WRITERS = ["images", "questions", "score", "gather", "pairs", "align", "audit"]


@contextmanager
def little_room() -> Iterator[None]:
    """No file of this process may become longer, whichever library writes it: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("stage", WRITERS)
def test_a_full_disk_leaves_what_was_there(stage: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    before = site.contents()
    with little_room():
        message = refusal(site.command(stage), site.out, capsys)
    assert "make room" in message
    assert site.contents() == before
    assert run(site.command(stage), capsys)[0] == 0  # room was made


@pytest.mark.parametrize("step", ["_sync", "replace"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_at_the_last_moment(
    step: str, error: int, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(*((atomic, "_sync") if step == "_sync" else (Path, "replace")), fails)
    before = site.contents()
    code, said = run(site.command("pairs"), capsys)
    assert code == 2
    assert said.splitlines()[-1].startswith(f"silmm pairs: error: {site.out}")
    assert os.strerror(error) in said.splitlines()[-1]
    assert site.contents() == before


def test_a_copy_names_the_disk_that_is_full_and_not_its_source(
    tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[2] / "checkpoints/discrete_seed0"
    words = ["pretrain", "--shipped", str(shipped), "--state", str(tmp_path / "state"), "--out", str(site.out / "ckpt")]
    with little_room():
        message = refusal(words, f"error: {site.out / 'ckpt'}: File too large: make room", capsys)
    assert str(shipped) not in message
    assert not (site.out / "ckpt").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
@pytest.mark.parametrize("names", [(), ("source", None, "target"), ("{temporary}/part",)])
def test_a_full_or_closed_disk_is_named_by_what_was_to_be_written(
    error: int, names: tuple[str | None, ...], tmp_path: Path
) -> None:
    """Whatever the system names: nothing, the source of a copy, a temporary file."""
    out = tmp_path / "out"
    for kind in (atomic.atomic_file, functools.partial(atomic.atomic_dir, command="silmm align")):
        with pytest.raises(OSError, match=os.strerror(error)) as raised, kind(out) as temporary:
            raise OSError(error, os.strerror(error), *(name and name.format(temporary=temporary) for name in names))
        assert (raised.value.errno, raised.value.filename, raised.value.filename2) == (error, str(out), None)
        with pytest.raises(OSError, match="else") as raised, kind(out):
            raise OSError(error, os.strerror(error), "/somewhere/else")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_read_is_named_as_ever(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, atomic.atomic_dir(tmp_path / "out", "silmm align"):
        (tmp_path / "source").read_bytes()
    assert raised.value.filename == str(tmp_path / "source")


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_closed_folder_is_named(
    error: int, site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the system says: to the superuser, no folder is closed."""

    def fails(path: Path, *arguments: object, **named: object) -> None:
        raise OSError(error, os.strerror(error), str(path))

    monkeypatch.setattr(Path, "mkdir", fails)
    assert "may write to" in refusal(site.command("images"), site.out, capsys)


@pytest.mark.parametrize("stage", ["questions", "images"])
def test_a_file_where_a_folder_should_be(stage: str, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    words = COMMANDS[stage].format(site=site.folder, out=site.out).split()
    out = site.folder / "prompts.jsonl/below"
    before = (site.folder / "prompts.jsonl").read_bytes()
    more = site.more(stage)
    assert "may write to" in refusal([*words, *more, "--out", str(out)], site.folder / "prompts.jsonl", capsys)
    assert (site.folder / "prompts.jsonl").read_bytes() == before


PROGRAM = """
import sys
from silmm import cli
cli._doctor = lambda args: print("a line\\n" * 100_000)
sys.exit(cli.main(["doctor"]))
"""


def shell(text: str) -> subprocess.CompletedProcess[str]:
    """A line in bash, with the first program as $PROGRAM."""
    src = str(Path(cli.__file__).parents[1])
    given = {**os.environ, "PYTHONPATH": src, "PYTHON": sys.executable, "PROGRAM": PROGRAM}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {text}"], capture_output=True, text=True, env=given)


def test_a_reader_that_has_gone_is_no_error() -> None:
    done = shell('"$PYTHON" -c "$PROGRAM" | head -n 1')
    assert (done.returncode, done.stdout, done.stderr) == (141, "a line\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error() -> None:
    done = shell('"$PYTHON" -c "$PROGRAM" > /dev/full')
    assert done.returncode == 2
    assert done.stderr.startswith("silmm doctor: error: No space left on device: make room")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_not_taken_for_the_file_that_is_written(tmp_path: Path) -> None:
    program = PROGRAM.replace("_doctor", "_gather").replace('["doctor"]', '["gather", "a", "--out", sys.argv[1]]')
    done = shell(f'PROGRAM={shlex.quote(program)}; "$PYTHON" -c "$PROGRAM" {tmp_path}/table > /dev/full')
    assert done.returncode == 2
    assert done.stderr.startswith("silmm gather: error: No space left on device: make room")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_be_written_fails_the_job() -> None:
    """As the rules write theirs: a job whose log is lost has not succeeded."""
    assert shell("echo done 2>&1 | tee /dev/full").returncode == 1
