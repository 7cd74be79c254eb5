"""Processes that were started together end together, and what the user can mend arrives as one line."""

from __future__ import annotations

import signal
import time
from functools import partial

import numpy as np
import pytest

from silmm.align import launch
from silmm.align.launch import together
from silmm.errors import InputError, LostProcessError
from tests.align.failing import broken, fail, lost, signalled

LAST = r"^rank 1 of 2 \(process \d+\) "
AGAIN = ": the others were ended; the same command goes on from the last state$"


def test_one_that_fails_ends_all() -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match="^pairs.parquet: not what it should be$"):
        together(fail, 2)
    assert time.monotonic() - start < 120


def test_a_killed_one_is_named_and_not_what_the_others_say_of_it(capfd: pytest.CaptureFixture[str]) -> None:
    why = "was killed by SIGKILL, from outside or because memory was out"
    with pytest.raises(LostProcessError, match=LAST + why + AGAIN):
        together(partial(signalled, signal.SIGKILL), 2)
    assert "Traceback" not in capfd.readouterr().err


def test_a_stopped_one_ends_all_after_the_timeout(capfd: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    why = r"gave no sign of life for 4 s \(align.timeout\): stopped or frozen"
    with pytest.raises(LostProcessError, match=LAST + why + AGAIN):
        together(partial(signalled, signal.SIGSTOP), 2, timeout=4)
    assert time.monotonic() - start < 120
    said = capfd.readouterr().err
    assert "Traceback" not in said and "gave no sign of life lately: this ends after 4 s (align.timeout)" in said


def test_one_that_lives_and_lets_the_others_wait_is_named() -> None:
    with pytest.raises(LostProcessError, match=LAST + r"got no further for 3 s \(align.timeout\)" + AGAIN):
        together(lost, 2, timeout=3)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)one of several processes failed:.*ZeroDivisionError: a bug") as raised:
        together(broken, 2)
    assert not isinstance(raised.value, InputError)


class Member:
    """A process that does not end, or has."""

    sentinel, pid = None, 1

    def __init__(self, exitcode: int | None = None) -> None:
        self.exitcode = exitcode


class Silent:
    """The pipe of a process that said nothing."""

    def recv(self) -> object:
        raise EOFError


@pytest.mark.parametrize(
    ("codes", "why"),
    [
        ((0, 7), "ended with exit code 7"),
        ((1, -11), "was killed by SIGSEGV"),
        ((-6, -9), "was killed by SIGKILL, from.*"),
    ],
)
def test_an_end_without_a_word_is_named(codes: tuple[int, int], why: str) -> None:
    with pytest.raises(LostProcessError, match=LAST + why + AGAIN):
        launch._judge([Member(code) for code in codes], "", codes, [Silent(), Silent()])


class Looks:
    """A launcher that looks at two processes, which give signs meanwhile: `[rank, kind]` at each look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, signs: list[list[list[int]]], sleeps: bool = False) -> None:
        self.now, self.looks, self.signs, self.sleeps = 0.0, 0, signs, sleeps
        self.signs_N2 = np.zeros((2, 2), np.int64)
        monkeypatch.setattr(launch, "wait", self.wait)
        monkeypatch.setattr(launch.time, "monotonic", lambda: self.now)

    def wait(self, *_: object) -> None:
        self.now += 10_000.0 if self.sleeps and self.looks % 3 == 0 else launch.POLL
        if self.looks < len(self.signs):
            self.signs_N2 += np.array(self.signs[self.looks])
        self.looks += 1

    def watch(self, timeout: float) -> str:
        return launch._watch([Member(), Member()], self.signs_N2, timeout)


ALL, LIFE, NONE = [[1, 1], [1, 1]], [[1, 0], [1, 0]], [[0, 0], [0, 0]]


def test_a_sleep_of_the_whole_machine_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or of the whole job, as SLURM suspends one: this process is asleep with the others, and may wake first."""
    looks = Looks(monkeypatch, [NONE if look % 3 == 0 else ALL for look in range(1000)], sleeps=True)
    assert "gave no sign of life for 10 s" in looks.watch(10.0) and looks.looks > 1000


def test_one_that_is_slow_but_gets_further_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [[[1, 0], [1, look % 9 == 0]] for look in range(500)]  # the first waits for the second
    looks = Looks(monkeypatch, slow + [LIFE] * 20)
    assert "rank 0 of 2" in looks.watch(10.0) and looks.looks > 500


def test_the_first_sign_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch, [NONE] * int(launch.START) + [ALL] * 100)
    assert "rank 0 of 2 (process 1), rank 1 of 2" in looks.watch(10.0) and looks.looks > launch.START + 100
