"""What the documents tell the reader to type exists, the files that they name are there, the README's commands run."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from silmm import cli
from silmm.arms import KEYS

from .conftest import SMOKE, Smoke
from .workflow.conftest import ROOT

README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
# Made by `make study` and `make pretrain`, then committed: their files must be there once their folder is.
LATER = ("docs/study", "checkpoints")
BY_HAND = "results/hand"  # the tutorial's own folder
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def commands(path: Path) -> list[list[str]]:
    """The words of each command in the ```sh blocks of a document, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return list(filter(None, words))


def outputs() -> list[list[str]]:
    """The files that rules make under results/, each as a list of patterns, one a part of the path."""
    wild = {
        "lmm": "(?:discrete|emu3|janus|seed_llama)",
        "arm": r"[a-z][a-z0-9_]*",
        "seed": r"\d+",
        "t": r"\d+",
        "shard": r"\d+",
    }
    # the others build paths piece by piece
    texts = [path.read_text() for path in RULES if not path.name.endswith("files.smk")]
    named = {name for text in texts for name in re.findall(r'"<results>/([^"]+)"', text)}
    named = {name for name in named if set(re.findall(r"\{([^{}]+)\}", name)) <= set(wild)}
    return [["results", *re.sub(r"\{(\w+)\}", lambda m: wild[m[1]], name).split("/")] for name in named]


def is_made(name: str) -> bool:
    """Whether a rule makes this path under results/, a folder above it or a file within it."""
    for mark, example in (("<lmm>", "discrete"), ("<arm>", "silmm"), ("<k>", "0"), ("<t>", "1"), ("<i>", "0")):
        name = name.replace(mark, example)
    parts = name.rstrip("/").split("/")
    by_hand = name.startswith(BY_HAND) or name in MAKEFILE.split()  # `make drills` names its file
    return by_hand or any(all(map(re.fullmatch, patterns, parts)) for patterns in outputs())


def exists(name: str, folder: Path = ROOT) -> bool:
    """Whether a file of the repository is there, or is one that comes later."""
    path = (folder / name).resolve()
    inside = path.relative_to(ROOT).as_posix()
    late = next((ROOT / later for later in LATER if inside.startswith(later)), None)
    return path.exists() or (late is not None and not late.exists())


def check_make(words: list[str]) -> None:
    for word in words:
        variable, equals, _ = word.partition("=")
        kind = rf"^{re.escape(variable)} \?=" if equals else rf"^{re.escape(word)}:"
        assert re.search(kind, MAKEFILE, flags=re.MULTILINE), f"the Makefile has no {variable}"


def check_snakemake(words: list[str]) -> None:
    from snakemake.cli import get_argument_parser

    given = get_argument_parser().parse_args(words)
    rules = {name for path in RULES for name in re.findall(r"^rule (\w+):", path.read_text(), flags=re.MULTILINE)}
    default = yaml.safe_load((ROOT / "config/default.yaml").read_text())
    rules |= {name for lmm in ("discrete", "continuous") for name in default[lmm]["figures"]}  # made in a loop
    for target in given.targets:
        assert target in rules or is_made(target), f"nothing makes {target}"
    assert set(given.forcerun or ()) <= rules
    for file in given.configfile or ():
        assert exists(str(file)) or re.fullmatch(r"my(_\w+)?\.yaml", str(file)), f"no {file}"  # the reader writes these
    for item in given.config or ():
        assert item.partition("=")[0] in KEYS, f"no key {item}"


def check_silmm(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        cli.build_parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"silmm {' '.join(words)}: {capsys.readouterr().err}")


@each_document
def test_every_command_is_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for program, *words in commands(path):
        if program == "make":
            check_make(words)
        elif program == "snakemake":
            check_snakemake(words)
        elif program == "silmm":
            check_silmm(words, capsys)
        elif program == "python" and words[0] == "-m":
            file = words[1].replace(".", "/")
            assert any(map(exists, (f"{file}.py", f"src/{file}.py", f"src/{file}/__main__.py"))), (
                f"no module {words[1]}"
            )
        elif program == "python" and words[0] != "-c":
            assert exists(words[0]), f"no {words[0]}"
        else:
            assert program in ("python", "head", "tail", "cat", "ls", "source", "hf", "curl", "tensorboard"), (
                f"what is {program}?"
            )
        for word in words:
            if word.startswith("results/") and program in ("silmm", "cat", "head", "tail", "ls"):
                assert is_made(word), f"nothing makes {word}"


@each_document
def test_every_file_that_is_named_is_there(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert "://" in link or exists(link, path.parent), f"{path.name} links to {link}"
    tops = "|".join(re.escape(p.name) for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith("."))
    for name in re.findall(rf"`((?:{tops}|checkpoints|docs)/[\w./-]*)`", text):
        assert exists(name) or name.startswith("results/"), f"{path.name} names {name}"
    for name in re.findall(r"`(results/[\w./<>-]+)`", text):
        assert is_made(name), f"{path.name} names {name}, which nothing makes"


def test_a_file_that_nothing_makes_is_noticed() -> None:
    assert is_made("results/summary.csv")
    assert is_made("results/discrete/seed0/silmm/iter3/ckpt/model.safetensors")
    assert is_made("results/<lmm>/seed<k>/<arm>/iter<t>/")
    assert not is_made("results/summary.tsv")
    assert not is_made("results/figures/loss.png")
    assert not is_made("results/discrete/seed0/silmm/iter3/pair.parquet")
    assert not exists("docs/nothing.md")


def test_the_first_commands_are_the_two_and_make_is_no_magic() -> None:
    given = commands(README)
    assert given[:2] == [["make", "reproduce"], ["make", "test"]]
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    names = ["VENV=.venv", "CORES=all"]  # whatever the make around these tests was given
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--assume-old=.venv/.installed", *names, "reproduce"],
        cwd=ROOT, env={**os.environ, "MAKEFLAGS": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shlex.split(done.stdout.splitlines()[-1]) in given  # what it runs stands in the README, executed below


# ---- the README's commands, executed -------------------------------------------------------------------------------


def on_smoke(words: list[str], folder: Path) -> list[str]:
    """The same command in this environment, with the configuration and in the folder of a smoke run."""
    words = [re.sub(r"/iter3/", "/iter2/", word.replace("results/", "results/smoke/")) for word in words]
    if words[0] == "snakemake":
        words = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *words[1:]]
        return [*words, "--directory", str(folder), *SMOKE]
    return [sys.executable, "-m", *words]


def in_the_repository(words: list[str]) -> bool:
    """Whether a command reads the config where it works."""
    return words[0] == "snakemake" or words[:2] == ["silmm", "plan"]


def runs_on_smoke(words: list[str]) -> bool:
    """Not those that test, train for hours, install, or set up environments; those are checked word by word above."""
    other = {"--configfile", "--config", "--use-conda", "--forcerun"}
    return words[0] == "silmm" or (words[0] == "snakemake" and not other & set(words))


@pytest.mark.slow
@pytest.mark.xdist_group("smoke")
def test_the_commands_run_on_the_smoke_config(smoke: Smoke) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    first, *others = filter(runs_on_smoke, commands(README))
    assert first == ["snakemake", "--cores", "all"]  # what the smoke run ran
    made = [line.split()[0] for line in smoke.output.splitlines() if line.startswith("  results/smoke/")]
    assert made
    assert all((smoke.folder / name).is_file() for name in made)
    ran = []
    for words in others:
        done = subprocess.run(
            on_smoke(words, smoke.folder), cwd=ROOT if in_the_repository(words) else smoke.folder, env=environment,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"
        ran.append(done.stdout)
    one_file, drawn, asked, _, _, planned, taken, doctor = ran
    assert "Nothing to be done" in one_file
    assert "<- best" in drawn
    assert re.search(r"^(yes|no)  p_yes=", asked, flags=re.MULTILINE)
    assert (smoke.results / "paper/table_2.tex").is_file()
    assert (smoke.results / "gallery.html").is_file()
    assert "    align, evaluate: beta_005," in planned
    assert re.search(r"images +750 jobs +1,440,000 ", taken)
    assert "divdrop, cpu" in doctor


# ---- the README's numbers ------------------------------------------------------------------------------------------

COLUMNS = {
    "discrete": (("t1.0", "oracle_prompt"), ("top_p0.9", "oracle_prompt"), ("t1.0", "oracle_question")),
    "continuous": (
        ("fresh_noise", "oracle_prompt"),
        ("constant_noise", "oracle_prompt"),
        ("fresh_noise", "oracle_question"),
    ),
}
CONTROLS = {"discrete": ("dpo", "sft", "random_score"), "continuous": ("sft", "random_score")}
STUDY = ROOT / "docs/study/gains.csv"


def results_rows(gains: list[dict[str, str]], lmm: str) -> list[str]:
    """The rows of the README's table of results of an LMM, from gains.csv."""
    found = {
        (row["arm"], int(row["iteration"]), row["sampler"], row["metric"]): row
        for row in gains
        if (row["lmm"], row["versus"], row["category"]) == (lmm, "base", "core")
    }
    rows, last = [], max(iteration for arm, iteration, *_ in found if arm == "silmm")
    policies = [("silmm", t) for t in range(1, last + 1)] + [(arm, last) for arm in CONTROLS[lmm]]
    base = [found["silmm", last, *column]["base"] for column in COLUMNS[lmm]]
    rows.append("| base |" + "".join(f" {float(value):.3f} | |" for value in base))
    for arm, t in [*policies, ("best_of_n", 1)]:
        cells = []
        for column in COLUMNS[lmm]:
            row = found[arm, t, *column]
            low, high = (f"{float(row[end]):+.3f}" for end in ("ci_low", "ci_high"))
            cells.append(f" {float(row['value']):.3f} | {float(row['gain_abs']):+.3f} ({low} to {high}) |")
        name = arm if arm == "best_of_n" else f"{arm}, iteration {t}"
        rows.append(f"| {name} |" + "".join(cells))
    return rows


@pytest.mark.skipif(not STUDY.is_file(), reason="the study's tables are not there")
def test_the_readme_has_the_study_s_numbers_and_no_open_place() -> None:
    with STUDY.open(newline="") as stream:
        gains = list(csv.DictReader(stream))
    rows = [row for lmm in COLUMNS for row in results_rows(gains, lmm)]
    text = README.read_text()
    missing = [row for row in rows if row not in text]
    assert not missing, "the README's table should hold\n" + "\n".join(rows)
    assert not re.findall(r"<<\w+>>", text)
