"""The command line: it starts fast, its options are the settings, and what the user can mend is said in one line."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from silmm import cli
from silmm.arms import flag, plan
from silmm.benchmark_config import PLAIN
from silmm.cli_options import LOOKS, STAGE_OPTIONS
from silmm.errors import InputError
from silmm.records import RecordError
from silmm.settings import STAGES

HEAVY = ("torch", "numpy", "pyarrow", "pandas", "transformers", "PIL", "matplotlib", "snakemake", "yaml", "tqdm")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands set OMP_NUM_THREADS and the like: here they end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


class Calls(list[tuple[Any, dict[str, Any]]]):
    """The calls of a stage that stands in for the real one."""

    error: Exception | None = None
    own: Mapping[str, Any] = MappingProxyType({})  # how the family of every checkpoint draws

    def run(self, settings: Any = None, **keywords: Any) -> None:
        self.append((settings, keywords))
        if self.error:
            raise self.error


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    made = Calls()
    module = types.SimpleNamespace(run=made.run, draw=made.run, ask=made.run, sampling_of=lambda ckpt: made.own)
    monkeypatch.setattr(cli, "_module", lambda name: module)
    return made


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Every input of every stage, as it stands on the command line."""
    monkeypatch.chdir(tmp_path)
    for name in ("ckpt", "images/shard-0", "images/shard-1"):
        Path(name).mkdir(parents=True)
    for name in ("prompts.jsonl", "qa.jsonl", "scores.parquet", "pairs.parquet", "photo.png"):
        Path(name).touch()
    given = {"ckpt": "ckpt", "images": "images/shard-0 images/shard-1", "prompts": "prompts.jsonl", "qa": "qa.jsonl"}
    given |= {"scores": "scores.parquet", "pairs": "pairs.parquet", "iteration": "2", "seed": "3", "shard": "1/2"}
    return given | {
        "out": "out",
        "stats": "stats.json",
        "state": "state",
        "lmm": "discrete",
        "family": "janus",
        "shipped": "ckpt",
        "start": "ckpt",
        "processes": "2",
        "tensorboard": "curves",
        "avoid": "images prompts.jsonl",
    }


def command(stage: str, inputs: dict[str, str]) -> list[str]:
    """A whole command of a stage, optional inputs included."""
    words = [stage]
    for name in STAGE_OPTIONS[stage].replace("[", "").replace("]", "").split():
        words += [f"--{name}", *inputs[name].split()]
    return words


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr with which a command ends, exit code 2."""
    try:
        code: Any = cli.main(argv)
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    return captured.err[:-1]


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom silmm.cli import build_parser\nbuild_parser().format_help()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    src = str(Path(cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": src},
    )
    assert done.stdout.strip() == "[]"


def test_the_package_is_a_program_that_lists_its_commands() -> None:
    src = str(Path(cli.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "silmm", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": src},
    )
    for name in (*STAGES, "gather", "summarize", "figure", "contact-sheet", "gallery", *LOOKS, "draw", "ask"):
        assert f"    {name} " in done.stdout or f"    {name}\n" in done.stdout


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_is_an_option_with_its_default(stage: str, calls: Calls, inputs: dict[str, str]) -> None:
    assert cli.main(command(stage, inputs)) == 0
    settings, _ = calls[0]
    assert settings == STAGES[stage]()


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_has_help(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([stage, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in dataclasses.fields(STAGES[stage]):
        assert flag(stage, field.name) in text
        assert "(default: " in text


@pytest.mark.parametrize("stage", STAGES)
def test_the_workflow_s_options_make_the_workflow_s_settings(stage: str, calls: Calls, inputs: dict[str, str]) -> None:
    """`Plan.options` is what the rules write on the command line."""
    changed = {
        "pretrain": {"steps": 7, "lr": 1e-5},
        "adopt": {"weights": "a folder", "rank": 4, "dtype": "float32"},
        "prompts": {"n": 9},
        "images": {"top_p": 1.0},
        "questions": {"max_tokens": 8},
        "score": {"block": 2},
        "pairs": {"product": True, "scorer": "oracle"},
        "align": {"loss": "sft", "beta": 0.05},
        "evaluate": {"prompts": 16, "samplers": ["t0.5"], "best_of": 4},
    }[stage]
    arms: dict[str, Any] = {"main": "a", "arms": {"a": {}}, stage: changed}
    made = plan({"lmms": ["discrete"], "seeds": [0], "shards": 1, "iterations": 1, "control_iterations": 1, **arms})
    assert cli.main(command(stage, inputs) + shlex.split(made.options(stage))) == 0
    assert calls[0][0] == made.settings[stage]
    assert calls[0][0] != STAGES[stage]()


def test_options_reach_the_stage_under_their_names(calls: Calls, inputs: dict[str, str]) -> None:
    cli.main([*command("images", inputs), "--threads", "3"])
    assert calls[0][1] == {
        **{"ckpt": Path("ckpt"), "prompts": Path("prompts.jsonl"), "seed": 3, "iteration": 2, "shard": (1, 2)},
        **{"out": Path("out"), "threads": 3},
    }
    cli.main(["evaluate", "--ckpt", "ckpt", "--out", "out", "--stats", "stats.json"])
    assert calls[1][1] == {
        **{"ckpt": Path("ckpt"), "seed": 0, "out": Path("out"), "stats": Path("stats.json"), "threads": 1},
        **{"pairs": None, "prompts": None, "images": None},
    }
    cli.main(command("align", inputs))
    assert calls[2][1]["images"] == (Path("images/shard-0"), Path("images/shard-1"))


def test_threads_are_fixed_before_anything_is_imported(calls: Calls, inputs: dict[str, str]) -> None:
    cli.main([*command("align", inputs), "--threads", "5"])
    fixed = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_DYNAMIC")}
    assert fixed == {"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "5", "MKL_DYNAMIC": "FALSE"}


def test_draw_and_ask(calls: Calls, inputs: dict[str, str]) -> None:
    cli.main(["draw", "a red circle", "--ckpt", "ckpt", "--n", "4", "--best", "--out", "x.png", "--top-p", "0.5"])
    assert calls[0][1] == {
        **{"prompt": "a red circle", "ckpt": Path("ckpt"), "n": 4, "best": True, "out": Path("x.png")},
        **{"seed": 0, "threads": 1},
    }
    assert calls[0][0] == STAGES["images"](top_p=0.5)
    cli.main(["ask", "photo.png", "is there a circle ?", "--ckpt", "ckpt"])
    assert calls[1][1] == {
        **{"image": Path("photo.png"), "question": "is there a circle ?", "ckpt": Path("ckpt"), "threads": 1}
    }


@pytest.mark.parametrize(
    "words",
    [
        "draw a-cat --ckpt ckpt --out x",
        "images --ckpt ckpt --prompts prompts.jsonl --iteration 1 --out x",
        "benchmark-images geneval --ckpt ckpt --data images --out x",
    ],
)
def test_a_family_draws_as_it_says_unless_an_option_does(words: str, calls: Calls, inputs: dict[str, str]) -> None:
    calls.own = {"top_p": 1.0, "top_k": 2048, "guidance": 3.0}
    plain = PLAIN if words.startswith("benchmark") else {}  # DivDrop is no way to be judged, whatever the family has
    cli.main(words.split())
    assert calls[0][0] == STAGES["images"](top_p=1.0, top_k=2048, guidance=3.0, **plain)
    calls.own = {"guidance": 5.0, "rate": 0.3}
    cli.main([*words.split(), "--guidance", "1.0", "--temperature", "0.7"])
    assert calls[1][0] == STAGES["images"](**{"guidance": 1.0, "temperature": 0.7, "rate": 0.3, **plain})


def test_looks_take_the_settings_of_step_2(calls: Calls, inputs: dict[str, str]) -> None:
    cli.main(["divdrop-grid", "--ckpt", "ckpt", "--out", "grid.png", "--rate", "0.3", "--n", "8", "--n", "10"])
    assert calls[0] == (
        STAGES["images"](rate=0.3, n=10),  # the last one of an option counts: rules add theirs to the config's
        {"ckpt": Path("ckpt"), "seed": 0, "out": Path("grid.png"), "threads": 1},
    )
    cli.main(["sample-sheet", "--base", "ckpt", "--after", "images", "--out", "x.png", "--seed", "2", "--layers", "1"])
    assert calls[1] == (
        STAGES["images"](layers=1),
        {"base": Path("ckpt"), "after": Path("images"), "seed": 2, "out": Path("x.png"), "threads": 1},
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("images --n 1", "silmm images: error: images.n is 1: must be at least 2"),
        ("images --n x", "silmm images: error: argument --n: invalid int value: 'x' (see silmm images --help)"),
        ("images --top-p 1.5", "silmm images: error: images.top_p is 1.5: must be at most 1.0"),
        ("images --top-p 0", "silmm images: error: images.top_p is 0.0: must be above 0"),
        ("images --guidance inf", "silmm images: error: images.guidance is inf: must be a finite number"),
        ("align --beta 0", "silmm align: error: align.beta is 0.0: must be above 0"),
        ("align --beta nan", "silmm align: error: align.beta is nan: must be a finite number"),
        ("align --lr 0", "silmm align: error: align.lr is 0.0: must be above 0"),
        ("align --sft-weight inf", "silmm align: error: align.sft_weight is inf: must be a finite number"),
        ("align --text-weight -1", "silmm align: error: align.text_weight is -1.0: must be at least 0.0"),
        ("images --shard 2/2", "'2/2' is no shard"),
        ("images --iteration 0", "'0' must be a whole number, at least 1"),
        ("images --threads 0", "argument --threads: '0' must be a whole number, at least 1"),
        ("images --seed -1", "argument --seed"),
        ("images --iter 1", "unrecognized arguments: --iter 1"),
        ("images --ckpt nowhere", "silmm images: error: nowhere: no such folder (--ckpt)"),
        ("images --ckpt qa.jsonl", "silmm images: error: qa.jsonl: not a folder (--ckpt)"),
        ("images --prompts nothing.jsonl", "silmm images: error: nothing.jsonl: no such file (--prompts)"),
        ("align --images images/shard-0 images/shard-7", "images/shard-7: no such folder (--images)"),
        ("pairs --scorer best", "argument --scorer: invalid choice: 'best'"),
        ("evaluate --n-prompts 7", "silmm evaluate: error: evaluate.prompts is 7: must be at least 8"),
    ],
)
def test_a_bad_value_is_named_in_one_line(
    words: str, says: str, calls: Calls, inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    stage, *change = words.split()
    assert says in refusal([*command(stage, inputs), *change], capsys)
    assert not calls


def test_draw_is_checked_too(calls: Calls, inputs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--ckpt", "ckpt", "--out", "x.png"]
    assert "top_p is 2.0: must be at most 1.0" in refusal(["draw", "a", *rest, "--top-p", "2"], capsys)
    assert "nothing.png: no such file" in refusal(["ask", "nothing.png", "is it ?", "--ckpt", "ckpt"], capsys)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RecordError("qa.jsonl:3: not JSON"), "silmm images: error: qa.jsonl:3: not JSON"),
        (InputError("two\nlines"), "silmm images: error: two lines"),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "silmm images: error: a.png: No such file"),
        (OSError(28, "No space left on device"), "silmm images: error: No space left on device: make room"),
        (OSError(28, "No space left on device", "out"), "silmm images: error: out: No space left on device: make room"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: Exception, says: str, calls: Calls, inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    calls.error = error
    assert says in refusal(command("images", inputs), capsys)


@pytest.mark.parametrize("error", [ValueError("shapes differ"), RuntimeError("bug"), OSError("a library says so")])
def test_what_nobody_expects_keeps_its_traceback(error: Exception, calls: Calls, inputs: dict[str, str]) -> None:
    calls.error = error
    with pytest.raises(type(error), match=str(error)):
        cli.main(command("images", inputs))


def test_summarize_takes_one_entry_a_policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from silmm.report import summarize
    from silmm.report.entries import Entry

    got: list[Any] = []
    monkeypatch.setattr(summarize, "run", lambda *arguments: got.extend(arguments))
    words = ["summarize", "--out", "summary.csv", "--gains-out", "gains.csv"]
    words += ["--entry", "lmm=discrete,arm=base,seed=0,iteration=0,dir=results/base"]
    words += ["--entry", "lmm=discrete,arm=silmm,seed=0,iteration=1,role=main,dir=a,b=c/iter1"]
    assert cli.main(words) == 0
    base, after = (Path("results/base"), Path("a,b=c/iter1"))
    assert got == [
        [
            Entry("discrete", "base", 0, 0, base / "eval.parquet", base / "eval.stats.json"),
            Entry("discrete", "silmm", 0, 1, after / "eval.parquet", after / "eval.stats.json", "main"),
        ],
        Path("summary.csv"),
        Path("gains.csv"),
    ]


@pytest.mark.parametrize(
    "entry",
    [
        *("x", "lmm=a,arm=b,seed=0,dir=c", "lmm=a,arm=b,seed=x,iteration=0,dir=c", "lmm=a,arm=b,seed=0,iteration=0"),
        *("lmm=a,arm=b,seed=0,iteration=0,role=first,dir=c", "lmm=a,arm=b,seed=0,iteration=0,part=main,dir=c"),
    ],
)
def test_a_bad_entry_is_named(entry: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["summarize", "--out", "s.csv", "--gains-out", "g.csv", "--entry", entry]
    assert f"'{entry}'" in refusal(words, capsys)


def test_gallery_takes_a_policy_each(calls: Calls, inputs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    from silmm.report import entries

    modules = {"report.entries": entries, "stages.gallery": types.SimpleNamespace(run=calls.run)}
    monkeypatch.setattr(cli, "_module", lambda name: modules[name])
    words = [f"--ckpt-of=lmm=continuous,iteration={t},dir={folder}" for t, folder in enumerate(("ckpt", "images"))]
    assert cli.main(["gallery", *words, "--seed", "2", "--out", "g.html"]) == 0
    policies = [entries.Policy("continuous", t, Path(folder)) for t, folder in enumerate(("ckpt", "images"))]
    assert calls == [(None, {"policies": policies, "seed": 2, "out": Path("g.html"), "threads": 1})]


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("lmm=discrete,iteration=0", "'lmm=discrete,iteration=0' is no lmm=...,iteration=...,dir=..."),
        ("lmm=discrete,iteration=x,dir=ckpt", "is no lmm=...,iteration=...,dir=..."),
        ("lmm=other,iteration=0,dir=ckpt", "lmm is 'other': choose one of discrete, continuous"),
        ("lmm=discrete,iteration=0,dir=nowhere", "silmm gallery: error: nowhere: no such folder (--ckpt)"),
    ],
)
def test_a_bad_policy_is_named(
    policy: str, says: str, inputs: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert says in refusal(["gallery", "--ckpt-of", policy, "--out", "g.html"], capsys)


def test_gather_joins_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from silmm.records import SCORES, read_table, write_table

    columns = {"prompt_id": ["p0"], "sample": [0], "question_id": ["q0"], "p_yes": [0.9], "p_no": [0.1]}
    write_table(tmp_path / "0.parquet", columns, SCORES)
    write_table(tmp_path / "1.parquet", {**columns, "prompt_id": ["p1"]}, SCORES)
    shards = [str(tmp_path / f"{i}.parquet") for i in range(2)]
    assert cli.main(["gather", *shards, "--out", str(tmp_path / "scores.parquet")]) == 0
    assert read_table(tmp_path / "scores.parquet", SCORES)["prompt_id"].to_pylist() == ["p0", "p1"]
    missing = str(tmp_path / "2.parquet")
    assert f"{missing}: no such file" in refusal(["gather", *shards, missing, "--out", "x"], capsys)
