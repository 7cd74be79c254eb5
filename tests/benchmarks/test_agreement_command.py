"""The command line of `silmm agreement`."""

from __future__ import annotations

from pathlib import Path

import pytest

from silmm import cli


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("agreement --humans nothing.json --out a.csv", "nothing.json: cannot be read"),
        ("agreement --humans a.json --out a.csv --rows x", "'x' is no MODEL=DIR"),
        ("agreement --humans a.json --out a.csv --rows x=a x=b", "--rows x: given more than once"),
        ("agreement-maps --humans nothing.json --pictures . --out maps", "nothing.json: cannot be read"),
    ],
)
def test_what_does_not_fit_is_said(
    words: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(words.split())
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
