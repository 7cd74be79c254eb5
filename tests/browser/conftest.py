"""One headless Chromium for all tests of a folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .chromium import BINARY, Page, browser


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A tab that tests share one after the other."""
    if BINARY is None:
        pytest.skip("no Chromium on this machine (Debian's package chromium)")
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page
