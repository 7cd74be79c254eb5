"""A whole evaluation: what it writes, what stops it, and that an interruption changes nothing."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from silmm import cli
from silmm.benchmarks import looking, registry
from silmm.benchmarks.judges import load as loading
from silmm.errors import InputError
from silmm.records import BENCHMARK, read_table
from silmm.report.benchmark_table import standing
from silmm.stages import benchmark
from tests.benchmarks import toy

Run = Callable[..., Path]


@pytest.fixture
def judge() -> toy.Bright:
    return toy.Bright("bright")


@pytest.fixture
def run(tmp_path: Path, judge: toy.Bright, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Evaluate the pictures of `toy.draw`, or those that are given."""
    monkeypatch.setattr(registry, "get", lambda name: toy.TOY)
    monkeypatch.setattr(loading, "load", lambda role, source: judge)
    monkeypatch.setattr(looking, "BLOCK", 5)  # 12 pictures: whole blocks, and a rest
    pictures = toy.draw(tmp_path / "pictures")

    def evaluate(out: str = "out", **given: Any) -> Path:
        asked = {"name": "toy", "data": tmp_path / "pictures_data", "images": (pictures,), "judge": {}, **given}
        benchmark.run(out=tmp_path / out, **asked)
        return tmp_path / out

    return evaluate


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def scores(folder: Path) -> dict[tuple[str, str], float]:
    with (folder / "scores.csv").open() as stream:
        return {(row["variant"], row["category"]): float(row["score"]) for row in csv.DictReader(stream)}


def test_scores_are_those_by_hand(run: Run) -> None:
    out = run(lmm="mine", note={"guidance": "3.0"})
    # Brightness of picture k of prompt i is 20 i + 100 k: dark prompts 0, 2, 4; light ones 1, 3, 5.
    dark, light = (0 + 100 + 40 + 140 + 80 + 180) / 6 / 2.55, (20 + 120 + 60 + 160 + 100 + 200) / 6 / 2.55
    found = scores(out)
    assert found["official", "dark"] == pytest.approx(dark, abs=1e-4)
    assert found["official", "light"] == pytest.approx(light, abs=1e-4)
    assert found["official", "all"] == pytest.approx((dark + light) / 2, abs=1e-4)
    # above 127.5: 140 and 180 of the dark ones, 160 and 200 of the light ones
    assert found["corrected", "dark"] == found["corrected", "light"] == pytest.approx(100 / 3, abs=1e-4)
    rows = read_table(out / "rows.parquet", BENCHMARK).to_pylist()
    assert [(row["item_id"], row["image"]) for row in rows] == [(f"t{i}", k) for i in range(6) for k in range(2)]
    about = json.loads((out / "run.json").read_text())
    assert about["pictures by size"] == {"8x6": 12}
    assert about["pictures drawn"]["guidance"] == "3.0"
    assert about["judges"][0]["standing"] == "official by its name"
    page = (out / "table.md").read_text()
    assert "# toy: mine" in page and "no numbers to report" not in page and "Another judge" not in page
    assert not (out.parent / "out.state").exists()


@pytest.mark.parametrize(
    ("source", "official", "expected"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32", "official"),  # a commit of the main branch
        ("openai/clip-vit-base-patch32@refs/pr/15", "openai/clip-vit-base-patch32", "another judge"),  # anybody's
        ("openai/clip-vit-base-patch32@3d74acf", "openai/clip-vit-base-patch32", "another judge"),
        ("clip-vit-base-patch32", "openai/clip-vit-base-patch32", "official by its name"),
        ("someone/clip-vit-base-patch32", "openai/clip-vit-base-patch32", "another judge"),
        ("UniDet", "UniDet", "another judge"),  # a folder: the hub has no UniDet, and nothing here reads its weights
    ],
)
def test_how_a_judge_stands_to_the_official_one(source: str, official: str, expected: str) -> None:
    assert standing(source, official) == expected


def test_an_interval_holds_its_score(run: Run) -> None:
    with (run() / "scores.csv").open() as stream:
        for row in csv.DictReader(stream):
            assert float(row["ci_low"]) <= float(row["score"]) <= float(row["ci_high"])
            assert float(row["ci_low"]) < float(row["ci_high"]) or row["variant"] == "corrected"


@pytest.mark.parametrize("form", ["archive", "archives in a folder", "two folders", "copied in another order"])
def test_where_the_pictures_lie_does_not_matter(run: Run, tmp_path: Path, form: str) -> None:
    plain, pictures = files_of(run()), tmp_path / "pictures"
    names = sorted((p.relative_to(pictures).as_posix() for p in pictures.rglob("*.png")), reverse=True)
    other = tmp_path / "other"
    other.mkdir()
    if form == "copied in another order":
        for name in names:
            (other / name).parent.mkdir(exist_ok=True)
            shutil.copy(pictures / name, other / name)
        images: tuple[Path, ...] = (other,)
    elif form == "two folders":
        images = (other / "a", other / "b")
        for name in names:
            target = images["dark" in name] / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures / name, target)
    else:
        for i, part in enumerate((names,) if form == "archive" else (names[:5], names[5:])):
            with zipfile.ZipFile(other / f"{i}.zip", "w") as archive:
                for name in part:
                    archive.write(pictures / name, name)
        images = (other / "0.zip",) if form == "archive" else (other,)
    assert files_of(run("again", images=images)) == plain


@pytest.mark.parametrize("after", [0, 5, 11])
def test_an_interrupted_run_goes_on(run: Run, judge: toy.Bright, tmp_path: Path, after: int) -> None:
    whole = files_of(run("whole"))
    judge.looked, judge.stop_after = 0, after
    with pytest.raises(KeyboardInterrupt):
        run()
    assert not (tmp_path / "out").exists()
    kept = after // 5 * 5
    judge.looked, judge.stop_after = 0, float("inf")
    assert files_of(run()) == whole
    assert judge.looked == 12 - kept


def test_what_was_seen_in_another_picture_does_not_count(run: Run, judge: toy.Bright, tmp_path: Path) -> None:
    judge.stop_after = 10
    with pytest.raises(KeyboardInterrupt):
        run()
    judge.looked, judge.stop_after = 0, float("inf")
    Image.new("RGB", (8, 6), (255, 255, 255)).save(tmp_path / "pictures/dark/t0_0.png")
    rows = pq.read_table(run() / "rows.parquet").to_pylist()
    assert rows[0]["official"] == 1.0
    assert judge.looked == 5 + 2  # the block of the new picture, and what had not been looked at


def test_damaged_state_is_made_again(run: Run, judge: toy.Bright, tmp_path: Path) -> None:
    whole = files_of(run("whole"))
    judge.looked, judge.stop_after = 0, 10
    with pytest.raises(KeyboardInterrupt):
        run()
    first, second = sorted((tmp_path / "out.state").rglob("looked-*.json"))
    first.write_text(first.read_text()[:20])
    second.write_text("[]")
    judge.stop_after = float("inf")
    assert files_of(run()) == whole


def test_another_judge_starts_anew(run: Run, judge: toy.Bright, tmp_path: Path) -> None:
    judge.stop_after = 10
    with pytest.raises(KeyboardInterrupt):
        run()
    judge.looked, judge.stop_after = 0, float("inf")
    judge.card = judge.card._replace(source="dull", revision="sha256:1")
    page = (run() / "table.md").read_text()
    assert judge.looked == 12
    assert "never with the literature" in page


def test_a_part_is_said_to_be_one(run: Run) -> None:
    out = run(only=("dark",), first=2)
    assert set(scores(out)) == {("official", "dark"), ("corrected", "dark")}
    assert scores(out)["official", "dark"] == pytest.approx((0 + 100 + 40 + 140) / 4 / 2.55, abs=1e-4)
    assert "no numbers to report" in (out / "table.md").read_text()
    with (out / "scores.csv").open() as stream:
        assert all(row["standing"].endswith("first 2 prompts of each category") for row in csv.DictReader(stream))


def test_equal_pictures_are_counted(run: Run, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "pictures/dark/t0_0.png", tmp_path / "pictures/dark/t0_1.png")
    assert json.loads((run() / "run.json").read_text())["pictures equal to another of their prompt"] == 1


def test_text_of_others_is_no_markup(run: Run) -> None:
    page = (run(lmm="<img src=x>|[a](b)", note={"sampler": "`<b>`"}) / "table.md").read_text()
    assert "<img" not in page and "<b>" not in page
    assert page.startswith("# toy: &lt;img src=x&gt;\\|\\[a\\](b)\n")


def test_what_is_drawn_here_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "pictures/drawn.json").write_text(json.dumps({"lmm": "emu3", "guidance": 3.0}))
    out = run()
    assert "# toy: emu3" in (out / "table.md").read_text()
    assert json.loads((out / "run.json").read_text())["pictures drawn"] == {
        "guidance": 3.0,
        "lmm": "emu3",
        "seeds": [0, 1],
    }
    (tmp_path / "more").mkdir()
    (tmp_path / "more/drawn.json").write_text(json.dumps({"lmm": "janus"}))
    with pytest.raises(InputError, match=r"more/drawn.json: drawn by another LMM"):
        run("again", images=(tmp_path / "pictures", tmp_path / "more"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"missing: dark/t4_1.png"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), r"1 pictures cannot be read \(dark/t4_1.png\)"),
        (lambda path: path.write_text("<html>"), r"1 pictures cannot be read \(dark/t4_1.png\)"),
    ],
)
def test_a_picture_that_is_not_there_stops_it(
    run: Run, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(tmp_path / "pictures/dark/t4_1.png")
    with pytest.raises(InputError, match=message):
        run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"only": ("grey",)}, "grey: no category of toy: choose of dark, light"),
        ({"judge": {"depth": "x"}}, r"depth: not a judge of toy: give --judge for vqa \(answers questions\)"),
        ({"images": (Path("nowhere"),)}, r"nowhere: no such folder \(--images\)"),
        ({"data": Path("nowhere")}, r"nowhere: 1 of 1 official files of toy are missing \(toy.txt\): add --download"),
    ],
)
def test_what_does_not_fit_is_said(run: Run, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(**given)


def test_a_judge_that_is_no_wheel_must_be_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "get", lambda name: toy.TOY._replace(judges={"vqa": "mplug-large"}))
    with pytest.raises(InputError, match="role vqa, mplug-large, does not come as a wheel: give another with --judge"):
        run()
    run(judge={"vqa": "bright"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": lambda items, found: toy.rows(items, found)[2:]}, "t0 of 6 items have no question or no score"),
        ({"tallies": lambda items, rows: toy.tallies(items, rows)[:-1]}, "t5 of 6 items have no question or no score"),
        (
            {"tallies": lambda items, rows: [t._replace(total=float("nan")) for t in toy.tallies(items, rows)]},
            r"t0 \(dark\), .* and 7 more: scores that are no numbers",
        ),
    ],
)
def test_nothing_shrinks_a_denominator(
    run: Run, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(registry, "get", lambda name: toy.TOY._replace(**change))
    with pytest.raises(InputError, match=message):
        run()


def test_what_the_published_arithmetic_leaves_out_is_counted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        registry, "get", lambda name: toy.TOY._replace(tallies=lambda items, rows: toy.tallies(items, rows)[1:])
    )
    assert json.loads((run() / "run.json").read_text())["prompts without an official score"] == {"dark": 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give the pictures (--images), or a checkpoint"),
        ("--images a --ckpt b", "and not both"),
        ("--images a --judge vqa=a --judge vqa=b", "--judge vqa: given more than once"),
        ("--images a --judge eye=a", "'eye=a' is no ROLE=SOURCE with a role of vqa, clip"),
        ("--images a --note x", "'x' is no NAME=VALUE"),
        ("--images a --first 0", "must be a whole number, at least 1"),
    ],
)
def test_the_command_line(words: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    try:
        code = cli.main(f"benchmark tifa --data x --out {tmp_path / 'out'} {words}".split())
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
