"""The hash that tells Snakemake which edits concern which stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from silmm import arms, sources
from silmm.benchmarks.registry import BENCHMARKS
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


LMMS = (*sources.SHAPEWORLD, *sources.PRETRAINED)


def concerned(file: str, stage: str) -> set[str]:
    """The LMMs for which a file counts in a stage."""
    return {lmm for lmm in LMMS if ROOT / file in source_files(f"stages.{stage}", lmm)}


def test_the_names_are_those_of_configs_and_benchmarks() -> None:
    assert tuple(sorted(sources.SHAPEWORLD, reverse=True)) == arms.SHAPEWORLD
    assert tuple(sorted(sources.PRETRAINED)) == arms.ADOPTED
    assert set(BENCHMARKS) == sources.BENCHMARKS
    for name in sources.ALONE:
        stem = PACKAGE.joinpath(*name.split(".")[1:])
        assert stem.with_suffix(".py").is_file() or (stem / "__init__.py").is_file(), name


@pytest.mark.parametrize("stage", ["prompts", "images", "questions", "score", "align"])
def test_a_family_s_sources_concern_that_family_alone(stage: str) -> None:
    for family in sources.PRETRAINED:
        assert concerned(f"src/silmm/lmm/{family}/lmm.py", stage) == {family}
    assert concerned("src/silmm/lmm/seed_llama/unclip.py", stage) == {"seed_llama"}
    assert concerned("src/silmm/lmm/shapeworld/flow.py", stage) == {"continuous"}
    assert concerned("src/silmm/lmm/shapeworld/decode.py", stage) == {"continuous", "discrete"}
    assert concerned("src/silmm/lmm/hf/text.py", stage) == sources.PRETRAINED
    assert concerned("src/silmm/lmm/interface.py", stage) == set(LMMS)


@pytest.mark.parametrize(
    ("kernel", "stages"),
    [
        ("kc_dpo", {"align": set(LMMS)}),
        ("divdrop", {stage: {"continuous", "dreamllm"} for stage in ("prompts", "images", "score", "align")}),
        ("selective_logps", {"align": set(LMMS)}),
        ("decode_attention", {stage: {"continuous", "discrete"} for stage in ("prompts", "images", "align")}),
    ],
)
def test_a_kernel_s_sources_concern_the_stages_that_call_it(kernel: str, stages: dict[str, set[str]]) -> None:
    own = [path for path in (ROOT / "csrc").rglob("*") if path.stem in (kernel, f"bind_{kernel}")]
    assert len(own) >= 3
    for path in own:
        for stage, lmms in stages.items():
            assert concerned(path.relative_to(ROOT).as_posix(), stage) == lmms
    if kernel == "kc_dpo":
        assert not concerned("csrc/kc_dpo_pair.h", "images")
        assert concerned("csrc/kc_dpo_pair.h", "align")


def test_every_compiled_source_concerns_somebody() -> None:
    used = {path for stage in STAGES for path in source_files(f"stages.{stage}")}
    assert {path for path in (ROOT / "csrc").rglob("*") if path.suffix in sources._CPP} <= used


def test_nobody_s_own_module_imports_another_s() -> None:
    """Else a module that is not followed would be used all the same. The list of families names them all."""
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(("silmm", *path.relative_to(PACKAGE).with_suffix("").parts))
        if name == "silmm.lmm.hf.checkpoint" or not any(f"{name}.".startswith(f"{whole}.") for whole in sources.ALONE):
            continue
        for one in (*LMMS, *BENCHMARKS):
            if sources._counts(name, (one,)):
                lost = {other for other in sources._imports(path) if not sources._counts(other, (one,))}
                assert not lost, f"{name} for {one}: {lost}"


def test_a_benchmark_s_arithmetic_concerns_that_benchmark_alone() -> None:
    for name, others in (("tifa", {"tifa"}), ("dpg", {"dpg_bench", "dpg_bench_1", "dsg_1k"}), ("geneval", {"geneval"})):
        own = PACKAGE / "benchmarks" / name
        for benchmark in BENCHMARKS:
            found = any(path.is_relative_to(own) for path in source_files("stages.benchmark", benchmark))
            assert found == (benchmark in others)


def test_all_sources_count_for_a_name_that_is_not_known_here() -> None:
    assert source_files("stages.align", "mine") == source_files("stages.align")


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
