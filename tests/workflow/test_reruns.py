"""What an edit, a new iteration or an interruption re-runs; with stages that only write small files."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import contract_files, jobs, run_snakemake, stub_checkout

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("reruns")]
RUN = ("--cores", "2", "--config", "lmms=[discrete]", "iterations=2")  # what re-runs is the same for every LMM


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with stub stages, and a whole run in it."""
    checkout = stub_checkout(tmp_path_factory.mktemp("checkout") / "silmm")
    done = run_snakemake(checkout, checkout, *RUN)
    assert "silmm: done. Look at" in done.stdout
    assert "results/summary.csv" in done.stdout
    return checkout


def planned(checkout: Path, *words: str) -> dict[str, int]:
    return jobs(run_snakemake(checkout, checkout, "-n", *(words or RUN)).stdout)


@pytest.fixture
def edited(finished: Path):  # type: ignore[no-untyped-def]
    """Edit a file of the checkout for one test."""
    before: dict[Path, str] = {}

    def edit(name: str, text: str = "\n# edited\n") -> None:
        path = finished / name
        before[path] = path.read_text()
        path.write_text(before[path] + text)

    yield edit
    for path, text in before.items():
        path.write_text(text)


def test_the_results_tree_is_the_contract(finished: Path) -> None:
    made = set(contract_files(finished / "results"))
    stats = {"prompts.stats.json", "qa.stats.json", "eval.stats.json"}
    data = {"prompts.jsonl", "qa.jsonl", "scores.parquet", "scores/shard-0.parquet", "scores/shard-1.parquet"}
    images = {"images/shard-0/content", "images/shard-1/content"}
    own = {"pairs.parquet", "pairs.stats.json", "ckpt/content", "eval.parquet"}
    folder = "discrete/seed0"
    expected = {f"{folder}/base/{name}" for name in ("ckpt/content", "eval.parquet", "eval.stats.json")}
    expected |= {f"{folder}/silmm/iter{t}/{name}" for t in (1, 2) for name in stats | data | images | own}
    for arm, names in (
        ("dpo", {"ckpt/content", "eval.parquet", "eval.stats.json"}),
        ("sft", {"ckpt/content", "eval.parquet", "eval.stats.json"}),
        ("random_score", {"pairs.parquet", "pairs.stats.json", "ckpt/content", "eval.parquet", "eval.stats.json"}),
        ("best_of_n", {"eval.parquet", "eval.stats.json"}),
    ):
        expected |= {f"{folder}/{arm}/iter1/{name}" for name in names}
    expected |= {"summary.csv", "gains.csv", "contact_sheet_discrete.png", "samples_discrete.png"}
    expected |= {f"figures/accuracy_discrete.{suffix}" for suffix in ("png", "pdf", "csv")}
    expected |= {name.removesuffix("content") + ".silmm" for name in expected if name.endswith("/content")}
    assert made == expected


def test_every_job_has_a_log_and_a_benchmark(finished: Path) -> None:
    logs = {
        p.relative_to(finished / "results/logs").with_suffix("") for p in (finished / "results/logs").rglob("*.log")
    }
    times = {
        p.relative_to(finished / "results/benchmarks").with_suffix("")
        for p in (finished / "results/benchmarks").rglob("*.tsv")
    }
    assert logs == times
    assert len(logs) == 34


def test_a_finished_run_has_nothing_to_do(finished: Path) -> None:
    assert planned(finished) == {}


def test_an_edit_of_the_losses_reruns_alignment_and_what_follows(finished: Path, edited) -> None:  # type: ignore[no-untyped-def]
    edited("src/silmm/align/losses.py")
    counts = planned(finished)
    second = {"prompts": 1, "images": 2, "questions": 1, "score": 2, "gather": 1, "pairs": 1}
    last = {"summarize": 1, "accuracy": 1, "contact_sheet": 1, "sample_sheet": 1, "all": 1}
    assert counts == {**second, "align": 5, "evaluate": 5, **last}


def test_an_edit_of_the_settings_or_the_command_line_reruns_nothing(finished: Path, edited) -> None:  # type: ignore[no-untyped-def]
    edited("src/silmm/cli.py")
    edited("src/silmm/settings.py")
    edited("src/silmm/report/contact_sheet.py")
    counts = planned(finished)
    assert counts == {"contact_sheet": 1, "all": 1}


def test_another_setting_reruns_its_stage_and_what_follows(finished: Path) -> None:
    counts = planned(finished, *RUN, "evaluate={n: 3}")  # best_of_n has an n of its own
    assert counts == {"evaluate": 5, "evaluate_base": 1, "summarize": 1, "accuracy": 1, "all": 1}


def test_one_more_iteration_runs_only_what_is_new(finished: Path) -> None:
    counts = planned(finished, "--cores", "2", "--config", "lmms=[discrete]", "iterations=3")
    new = {"prompts": 1, "images": 2, "questions": 1, "score": 2, "gather": 1, "pairs": 1, "align": 1, "evaluate": 1}
    assert counts == {**new, "summarize": 1, "accuracy": 1, "contact_sheet": 1, "sample_sheet": 1, "all": 1}


def test_prompts_to_avoid_rerun_all_but_the_base(finished: Path) -> None:
    (finished / "val.txt").write_text("a red car\n")
    counts = planned(finished, *RUN, "avoid=[val.txt]")
    assert counts["prompts"] == 2 and counts["images"] == 4
    assert not {"pretrain", "evaluate_base"} & set(counts)


def test_one_more_arm_runs_only_what_is_new(finished: Path) -> None:
    counts = planned(finished, *RUN, "arms={gentle: {align: {beta: 0.5}}}")
    assert counts == {"align": 1, "evaluate": 1, "summarize": 1, "accuracy": 1, "all": 1}


def test_cores_and_shared_arms_change_no_byte(finished: Path, tmp_path: Path) -> None:
    run_snakemake(finished, tmp_path, "--cores", "1", "--config", "lmms=[discrete]", "iterations=2")
    assert contract_files(tmp_path / "results") == contract_files(finished / "results")


def test_a_failing_stage_says_why_and_leaves_no_output(tmp_path: Path) -> None:
    checkout = stub_checkout(tmp_path / "silmm")
    broken = "\nfrom silmm.errors import InputError\ndef run(*_, **__):\n    raise InputError('qa.jsonl:3: not JSON')\n"
    stage = checkout / "src/silmm/stages/pairs.py"
    right = stage.read_text()
    stage.write_text(right + broken)
    words = (
        "--cores",
        "2",
        "--config",
        "lmms=[discrete]",  # with two, the other one's pairs may fail before these have their scores
        "iterations=1",
        "arms={dpo: null, sft: null, random_score: null, best_of_n: null}",
    )
    done = run_snakemake(checkout, checkout, *words, check=False)
    assert done.returncode == 1
    assert "silmm pairs: error: qa.jsonl:3: not JSON" in done.stdout
    folder = checkout / "results/discrete/seed0/silmm/iter1"
    assert (folder / "scores.parquet").exists()
    assert not (folder / "pairs.parquet").exists()
    stage.write_text(right)
    run_snakemake(checkout, checkout, *words)  # the same command goes on
    assert (checkout / "results/summary.csv").exists()


def test_an_edit_of_another_family_or_kernel_reruns_nothing(finished: Path, edited) -> None:  # type: ignore[no-untyped-def]
    for name in ("seed_llama/unclip", "janus/lmm", "hf/text", "shapeworld/flow", "shapeworld/pretrain_continuous"):
        edited(f"src/silmm/lmm/{name}.py")
    edited("src/silmm/open_language/examples.py")
    assert planned(finished) == {}
    edited("csrc/cuda/kc_dpo.cu", "// edited\n")  # step 5 alone
    counts = planned(finished)
    assert counts["align"] == 5 and "pretrain" not in counts and "evaluate_base" not in counts
