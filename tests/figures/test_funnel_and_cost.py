"""The tables of a run's own iterations: their numbers are those of the files, and files that do not fit are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from silmm.errors import RecordError
from silmm.records import INDEX, PAIRS, SCORES, PairStats, PromptStats, QuestionStats, Table, write_json, write_table
from silmm.report.cost import LOOP, cost
from silmm.report.entries import Step
from silmm.report.funnel import AVOIDED, OPEN, SHAPEWORLD, STEPS, counts, funnel

from .program import run_program

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def step(folder: Path, lmm: str = "discrete", t: int = 1, seed: int = 0, arm: str = "silmm") -> Step:
    return Step(lmm, arm, seed, t, folder)


def write_rows(path: Path, rows: list[tuple], schema: Table) -> None:
    write_table(path, dict(zip(schema.columns, map(list, zip(*rows, strict=True)), strict=True)), schema)


def iteration(folder: Path, kept: int = 3, ties: int = 1) -> Path:
    """Four drafts of prompts and more, two images of two pictures each; the last prompt has no question."""
    dropped = {"invalid": 1, "off_category": 0, "held_out": 2, "duplicate": 0, "unfilled": 1}
    write_json(folder / "prompts.stats.json", PromptStats(kept, kept + 3, dropped))
    write_json(folder / "qa.stats.json", QuestionStats(kept, 1, 2 * kept, 4, 5, 0.1, 0.9, 0))
    keys = [(f"p{i}", k, noise) for i in range(kept) for k in range(2) for noise in range(2)]
    for shard in range(2):
        mine = [key for key in keys if (int(key[0][1:]) + shard) % 2]
        names = [f"{'_'.join(map(str, key))}.png" for key in mine]
        columns = dict(zip(("prompt_id", "sample", "noise"), map(list, zip(*mine, strict=True)), strict=True))
        write_table(folder / f"images/shard-{shard}/index.parquet", {**columns, "file": names}, INDEX)
    scored = [(f"p{i}", k, f"q{q}", 0.5, 0.5) for i in range(kept - 1) for k in range(2) for q in range(2)]
    write_rows(folder / "scores.parquet", scored, SCORES)
    write_rows(folder / "pairs.parquet", [("p0", 0, 1, 0.5, 0.1)], PAIRS)
    lost = {"tie": ties, "small_gap": 2, "unsure_winner": 0, "surplus": 0}
    write_json(folder / "pairs.stats.json", PairStats(kept - 1, 0, 1, 1, 3 + ties, 1, lost))
    return folder


def test_the_funnel_counts_what_is_in_the_files(tmp_path: Path) -> None:
    found = counts(iteration(tmp_path))
    assert list(found) == [name for name in STEPS if name in SHAPEWORLD or name not in {*OPEN, *AVOIDED}]
    assert (found["prompts_drafted"], found["prompts_kept"], found["prompts_held_out"]) == (6, 3, 2)
    assert (found["images_drawn"], found["pictures_drawn"], found["images_scored"]) == (6, 12, 4)
    assert (found["questions_kept"], found["questions_malformed"], found["questions_duplicate"]) == (6, 4, 5)
    assert (found["prompts_scored"], found["prompts_without_questions"], found["prompts_tied"]) == (2, 1, 1)
    assert (found["pairs_drafted"], found["pairs_tie"], found["pairs_small_gap"], found["pairs_kept"]) == (4, 1, 2, 1)
    assert found["prompts_paired"] == 1


def test_an_lmm_of_the_open_world_has_its_own_reasons(tmp_path: Path) -> None:
    iteration(tmp_path)
    dropped = {name.removeprefix("prompts_"): i for i, name in enumerate(OPEN)}
    write_json(tmp_path / "prompts.stats.json", PromptStats(3, 20, {**dropped, "duplicate": 0, "unfilled": 1}))
    write_json(tmp_path / "qa.stats.json", QuestionStats(3, 1, 6, 4, 5, 0.1, None, 2))
    found = counts(tmp_path)
    assert {name: found[name] for name in OPEN} == dict(zip(OPEN, range(len(OPEN)), strict=True))
    assert found["questions_fallback"] == 2
    assert "prompts_held_out" not in found and "prompts_invalid" not in found
    write_json(tmp_path / "prompts.stats.json", PromptStats(3, 20, {**dropped, "held_out": 0, "duplicate": 0}))
    with pytest.raises(RecordError, match="prompts_held_out is missing or unknown in a stats.json"):
        counts(tmp_path)


def test_what_matched_a_benchmark_is_counted_where_it_was_looked_for(tmp_path: Path) -> None:
    iteration(tmp_path)
    dropped = {"invalid": 1, "off_category": 0, "held_out": 2, "duplicate": 0, "unfilled": 1}
    some = {"benchmark_exact": 4, "benchmark_near": 5}
    write_json(tmp_path / "prompts.stats.json", PromptStats(3, 20, {**dropped, **some}))
    found = counts(tmp_path)
    assert {name: found[name] for name in AVOIDED} == {f"prompts_{name}": n for name, n in some.items()}
    assert list(found)[4:8] == ["prompts_duplicate", *AVOIDED, "prompts_kept"]
    write_json(tmp_path / "prompts.stats.json", PromptStats(3, 20, {**dropped, "benchmark_exact": 4}))
    with pytest.raises(RecordError, match="prompts_benchmark_near is missing or unknown in a stats.json"):
        counts(tmp_path)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("prompts.stats.json", "no such file; run the stage that makes it (silmm prompts)"),
        ("qa.stats.json", "no such file; run the stage that makes it (silmm questions)"),
        ("scores.parquet", "no such file; run the stage that makes it (silmm score)"),
        ("pairs.stats.json", "no such file; run the stage that makes it (silmm pairs)"),
        ("images/shard-1/index.parquet", "no such file; run the stage that makes it (silmm images)"),
    ],
)
def test_a_missing_file_is_named_with_its_stage(tmp_path: Path, file: str, says: str) -> None:
    iteration(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(RecordError) as caught:
        counts(tmp_path)
    assert f"{file}: {says}" in str(caught.value)


def test_files_of_different_runs_are_refused(tmp_path: Path) -> None:
    iteration(tmp_path)
    write_json(tmp_path / "qa.stats.json", QuestionStats(4, 1, 6, 4, 5, 0.1, 0.9, 0))
    with pytest.raises(RecordError, match="qa.stats.json: 4 prompts, but 3 came before; run silmm questions again"):
        counts(tmp_path)
    iteration(tmp_path)
    write_json(tmp_path / "pairs.stats.json", PairStats(2, 0, 1, 1, 5, 2, {}))
    with pytest.raises(RecordError, match="pairs.parquet: 1 pairs, but 2 came before; run silmm pairs again"):
        counts(tmp_path)


def benchmarks(folder: Path, scale: float = 1.0, base: bool = False) -> Path:
    """The times of an iteration: a stage's place in the loop in seconds, times `scale`; two shards of images."""
    folder.mkdir(parents=True)
    for place, stage in enumerate(("pretrain",) if base else LOOP, 1):
        for name in (f"{stage}-0", f"{stage}-1") if stage in ("images", "score") else (stage,):
            peak = 100 * place + (name[-1] == "1")
            line = f"{place * scale:.2f}\t0:00:01\t{peak}.0\t1\t1\t1\t0\t0\t9\t{place / 2:.2f}\n"
            (folder / f"{name}.tsv").write_text(HEAD + line)
    (folder / "evaluate.tsv").write_text(HEAD + "2.00\t0:00:02\tNA\tNA\tNA\tNA\tNA\tNA\t0\t0\n")
    return folder


def test_costs_are_sums_over_shards_and_the_largest_memory(tmp_path: Path) -> None:
    found = cost([step(benchmarks(tmp_path / "iter1"))]).set_index("stage")
    assert list(found.index) == [*LOOP, "evaluate"]
    assert tuple(found.loc["images", ["jobs", "seconds", "cpu_seconds", "peak_mb"]]) == (2, 4.0, 2.0, 201.0)
    assert tuple(found.loc["align", ["jobs", "seconds", "cpu_seconds", "peak_mb"]]) == (1, 7.0, 3.5, 700.0)
    assert pd.isna(found.peak_mb["evaluate"]) and found.seconds["evaluate"] == 2


def test_a_benchmark_that_is_not_there_or_none_is_named(tmp_path: Path) -> None:
    folder = benchmarks(tmp_path / "iter1")
    (folder / "pairs.tsv").unlink()
    with pytest.raises(RecordError, match="pairs.tsv: no such file; run snakemake --forcerun pairs"):
        cost([step(folder)])
    for text in ("", "s\tmax_rss\n1\t2\n", HEAD, HEAD + "NA\t" * 9 + "NA\n", HEAD + "x\t" * 9 + "x\n"):
        (folder / "pairs.tsv").write_text(text)
        with pytest.raises(RecordError, match=r"pairs.tsv: .*; run snakemake --forcerun pairs"):
            cost([step(folder)])


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, list[Step]], str]:
    """`script(name, steps)`: run a script of paper_figures as a program; the LaTeX that it wrote."""

    def run(name: str, steps: list[Step]) -> str:
        words = [f"--entry=lmm={s.lmm},arm={s.arm},seed={s.seed},iteration={s.iteration},dir={s.dir}" for s in steps]
        run_program(name, [*words, "--out", tmp_path / "table.png"])
        return (tmp_path / "table.tex").read_text()

    return run


def test_the_funnel_s_table(tmp_path: Path, script: Callable[[str, list[Step]], str]) -> None:
    runs = [(t, seed) for t in (1, 2) for seed in (0, 1)]
    steps = [step(iteration(tmp_path / f"{t}-{seed}", 3 + t, t + seed), t=t, seed=seed) for t, seed in runs]
    latex = script("figure_funnel", steps)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), funnel(steps))
    assert "prompts kept & 4 & 5 \\\\" in latex and "   gap too small & 2 & 2 \\\\" in latex
    # of 3 + t + seed drafts, one is a pair: means over seeds of 4.5 and 5.5
    assert "pairs kept 22 % to 18 %" in latex and "Means of 2 seeds" in latex
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"table.{suffix}").stat().st_size > 1000


def test_the_cost_s_table(tmp_path: Path, script: Callable[[str, list[Step]], str]) -> None:
    steps = [step(benchmarks(tmp_path / "base", base=True), t=0, arm="base")]
    steps += [step(benchmarks(tmp_path / f"iter{t}", t), t=t) for t in (1, 2)]
    latex = script("figure_cost", steps)
    once = sum(place * (2 if stage in ("images", "score") else 1) for place, stage in enumerate(LOOP, 1))
    assert f"   steps 1 to 5 & -- & {once} & {2 * once} & {3 * once} & 700 \\\\" in latex
    total = 1 + 3 * once + 3 * 2
    assert f"   everything & 3.0 & {once + 2} & {2 * once + 2} & {total} & 700 \\\\" in latex
    assert "   evaluate & 2.0 & 2.0 & 2.0 & 6.0 & -- \\\\" in latex


def test_an_error_is_one_line(tmp_path: Path, script: Callable[[str, list[Step]], str]) -> None:
    with pytest.raises(SystemExit) as caught:
        script("figure_funnel", [step(tmp_path)])
    message = str(caught.value.code)
    assert message.startswith("figure_funnel: error: ") and "silmm prompts" in message and "\n" not in message
    assert not (tmp_path / "table.png").exists()
