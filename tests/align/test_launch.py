"""Processes that were started together end together, and what the user can mend arrives as one line."""

from __future__ import annotations

import time

import pytest

from silmm.align.launch import together
from silmm.errors import InputError
from tests.align.failing import fail


def test_one_that_fails_ends_all() -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match="^pairs.parquet: not what it should be$"):
        together(fail, 2)
    assert time.monotonic() - start < 120
