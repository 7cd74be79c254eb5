"""The hash that tells Snakemake which edits concern which stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from silmm import sources
from silmm.settings import STAGES
from silmm.sources import PACKAGE, ROOT, source_files, source_hash


def test_the_losses_concern_alignment_alone() -> None:
    losses = PACKAGE / "align" / "losses.py"
    assert [stage for stage in STAGES if losses in source_files(f"stages.{stage}")] == ["align"]


def test_a_stage_concerns_itself_and_not_its_neighbours() -> None:
    for stage in ("pretrain", "prompts", "images", "score", "pairs", "align", "evaluate"):
        own = PACKAGE / "stages" / f"{stage}.py"
        assert [s for s in STAGES if own in source_files(f"stages.{s}")] == [stage]


def test_settings_and_the_command_line_concern_nobody() -> None:
    for stage in STAGES:
        names = {
            path.relative_to(PACKAGE).as_posix() for path in source_files(f"stages.{stage}") if path.suffix == ".py"
        }
        assert not names & {"settings.py", "cli.py", "cli_options.py", "arms.py", "__init__.py"}
        assert "atomic.py" in names
        assert not any(name.startswith("report/") for name in names)


def test_a_stage_that_draws_uses_the_kernels_and_their_cpp() -> None:
    assert (ROOT / "csrc" / "module.cpp") in source_files("stages.images")
    assert (ROOT / "csrc" / "module.cpp") not in source_files("stages.pairs")


def test_an_edit_changes_the_hash_and_a_touch_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "silmm"
    (package / "stages").mkdir(parents=True)
    (package / "stages" / "one.py").write_text("def run():\n    from .. import two\n    import silmm.three as three\n")
    for name in ("two", "three", "four", "settings"):
        (package / f"{name}.py").write_text("")
    monkeypatch.setattr(sources, "PACKAGE", package)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    names = [path.name for path in source_files("stages.one")]
    assert names == ["one.py", "three.py", "two.py"]

    def hashed() -> str:
        source_hash.cache_clear()
        return source_hash("stages.one")

    before = hashed()
    (package / "two.py").touch()
    (package / "four.py").write_text("# edited")
    assert hashed() == before
    (package / "two.py").write_text("# edited")
    assert hashed() != before
    source_hash.cache_clear()


def test_an_unknown_module_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no module silmm"):
        source_files("stages.nothing")
