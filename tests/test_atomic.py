"""What stands beside a file while it is written: its rights, what a kill leaves of it, two writers without locks."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from silmm import atomic, gpus, takeover
from silmm.align import state as states
from silmm.atomic import atomic_dir, atomic_file
from silmm.errors import InputError

NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]
TENSORS = {"x": np.zeros(4, np.float32)}

# Saves a state of 32 MiB again and again.
SAVE = """
import sys, torch
from pathlib import Path
from silmm.align import state
while True:
    state.save(Path(sys.argv[1]), "mark", 1, {"weights": [torch.zeros(8, 1024, 1024)]})
"""
# Writes a file in two halves, with a file system without locks; says when the first is there, and waits for a word.
HALVES = """
import errno, fcntl, os, sys
from pathlib import Path
from silmm import takeover
from silmm.records import atomic_file
def flock(*_): raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
fcntl.flock = flock
out, word = Path(sys.argv[1]), sys.argv[2]
with takeover.sole_writer(out), atomic_file(out) as temporary:
    with temporary.open("w") as stream:
        stream.write(word); stream.flush()
        print(flush=True)
        sys.stdin.readline()
        stream.write(word)
"""


def run(program: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(atomic.__file__).parents[1])}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, env=environment, **pipes)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o027, 0o077], indirect=True)
def test_all_files_have_the_rights_that_the_umask_leaves(umask: int, tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "ckpt", "silmm align") as folder:
        save_file(TENSORS, folder / "model.safetensors")  # by the library for its user alone
        (folder / "config.json").write_text("{}")
        (folder / "unclip").mkdir(mode=0o700)
        save_file(TENSORS, folder / "unclip/model.safetensors")
    with atomic_file(tmp_path / "file") as temporary:
        save_file(TENSORS, temporary)
    states.save(tmp_path / "state", "mark", 1, {"weights": [torch.ones(2)]})
    made = list(tmp_path.rglob("*"))
    assert len(made) == 9
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_a_save_that_was_killed_is_removed_by_the_next_one_and_by_the_end(tmp_path: Path) -> None:
    """Safetensors writes under a name of its own, which stays."""
    for after in ("save", "clear"):
        folder = tmp_path / after
        with run(SAVE, folder) as process:
            while not (begun := list(folder.rglob(".tmp*"))):
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        left = [path for path in folder.rglob("*") if path.is_file() and path.name != states.FILE]
        assert left, begun
        if after == "save":
            states.save(folder, "mark", 2, {})
            assert [path.name for path in folder.iterdir()] == [states.FILE]
        states.clear(folder)
        assert not folder.exists()


def test_what_earlier_versions_left_goes_too(tmp_path: Path) -> None:
    for finish in (lambda: states.save(tmp_path / "state", "mark", 2, {}), lambda: states.clear(tmp_path / "state")):
        (tmp_path / "state").mkdir(exist_ok=True)
        (tmp_path / "state/.tmpA1b2C3").write_bytes(b"half")
        finish()
        assert not list(tmp_path.rglob(".tmp*"))
    assert not (tmp_path / "state").exists()


def no_locks(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(takeover.fcntl, "flock", flock)


def test_two_writers_without_locks_write_whole_files(tmp_path: Path) -> None:
    out = tmp_path / "pairs.parquet"
    with run(HALVES, out, "first ") as first, run(HALVES, out, "second ") as second:
        for process in (first, second):
            assert process.stdout and process.stdout.readline()
        assert len(list(tmp_path.glob(".partial-*"))) == 2
        for process, word in ((first, "first "), (second, "second ")):
            _, said = process.communicate("\n", timeout=60)
            assert process.returncode == 0
            assert out.read_text() == 2 * word
            assert said.count("\n") == 1 and f"{tmp_path}: no file locks here (No locks available)" in said
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.parquet"]


@pytest.mark.parametrize("error", NO_LOCKS)
def test_one_warning_a_folder_and_reason(
    error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    no_locks(error, monkeypatch)
    for name in ("one", "two"):
        with takeover.sole_writer(tmp_path / name), takeover.sole_writer(tmp_path / "pictures"):
            assert atomic.temporary_name(tmp_path / name).name.startswith(f".partial-{takeover.socket.gethostname()}-")
    assert atomic.temporary_name(tmp_path / "one").name == ".partial-one"
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and os.strerror(error) in said and str(tmp_path) in said


def test_a_lock_that_fails_while_it_is_waited_for_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = iter([errno.EWOULDBLOCK, errno.ENOLCK])

    def flock(*_: object) -> None:
        raise OSError(error := next(errors), os.strerror(error))

    monkeypatch.setattr(takeover.fcntl, "flock", flock)
    with takeover.sole_writer(tmp_path / "out"):
        assert atomic.temporary_name(tmp_path / "out").name != ".partial-out"
    assert "no file locks here" in capsys.readouterr().err


def test_what_a_killed_writer_without_locks_left_is_removed(tmp_path: Path) -> None:
    with run(HALVES, tmp_path / "file", "first") as process:
        assert process.stdout and process.stdout.readline()
        process.kill()
    host = takeover.socket.gethostname()
    assert [path.name for path in tmp_path.glob(".partial-*")] == [f".partial-{host}-{process.pid}-file"]
    others = [tmp_path / f".partial-{host}-{os.getppid()}-file", tmp_path / f".partial-else-{process.pid}-file"]
    for other in others:  # at work, perhaps
        other.mkdir()
    with atomic_file(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert sorted(tmp_path.glob(".partial-*")) == sorted(others)


def test_two_writers_of_a_folder_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One puts its folder there between the other's two renames."""
    out, rename = tmp_path / "ckpt", Path.rename

    def meanwhile(path: Path, target: Path) -> Path:
        if path.name.startswith(".partial-") and target == out and not out.exists() and not late:
            late.append(path)
            shutil.copytree(path, out)
            (out / "of").write_text("another")
        return rename(path, target)

    late: list[Path] = []
    monkeypatch.setattr(Path, "rename", meanwhile)
    with atomic.own_names(), atomic_dir(out, "silmm align") as folder:
        (folder / "of").write_text("this")
    assert late and (out / "of").read_text() == "this"
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt"]


def test_writers_in_threads_wait_for_each_other_as_ever(tmp_path: Path) -> None:
    def write(word: str) -> None:
        with takeover.sole_writer(tmp_path / "file"), atomic_file(tmp_path / "file") as temporary:
            temporary.write_text(word)

    threads = [threading.Thread(target=write, args=(word,)) for word in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", NO_LOCKS)
def test_gpus_are_not_taken_without_locks(error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(error, monkeypatch)
    with pytest.raises(InputError, match=f"^{tmp_path}: no file locks here .*: see to it .* give SILMM_GPU=share$"):
        gpus.take(1, ["GPU-a"], tmp_path)
