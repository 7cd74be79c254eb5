"""No output replaces what is not its own: one line, and nothing touched, before any work and once more at its end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from silmm import cli
from silmm.align import state as states
from silmm.align.curves import EVENTS, curves
from silmm.atomic import atomic_dir, atomic_file, check_dir
from silmm.benchmarks.judges import tiny as judges
from silmm.cli_outputs import FIGURES, FILES, FOLDER, TABLES
from silmm.errors import InputError
from silmm.lmm.janus import tiny
from silmm.outputs import MARKER, PAGE, PDF, PNG, check_file, png_signature
from silmm.records import PAIRS, SCORES, write_json, write_jsonl, write_table
from silmm.report import style
from silmm.report.gallery import PARTS
from silmm.schemas import Prompt, PromptStats
from silmm.stages import journal

OWN = "silmm images"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands set OMP_NUM_THREADS and the like: here they end with the test."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)


def contents(folder: Path) -> dict[str, str]:
    """Every name below a folder, and a hash of each file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def made(path: Path, command: str = OWN, **files: str) -> Path:
    """A folder as a command writes it."""
    with atomic_dir(path, command) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
    return path


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with, having touched nothing."""
    before = contents(Path())
    try:
        assert cli.main(words) == 2
    finally:
        assert contents(Path()) == before
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    return said[0]


# --- folders ---------------------------------------------------------------------------------------------------------


def test_what_a_command_wrote_it_writes_again(tmp_path: Path) -> None:
    made(tmp_path / "out", a="1", b="1")
    (tmp_path / "out/.snakemake_timestamp").touch()
    made(tmp_path / "out", a="2")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [MARKER, "a"]
    assert json.loads((tmp_path / "out" / MARKER).read_text()) == {"command": OWN, "files": ["a"]}
    assert (tmp_path / "out/a").read_text() == "2"
    (tmp_path / "empty").mkdir()
    made(tmp_path / "empty", a="1")
    assert (tmp_path / "empty/a").read_text() == "1"


def _foreign(folder: Path) -> str:
    folder.mkdir()
    (folder / "photo.jpg").write_text("mine")
    return "not empty, and `silmm images` did not write it, or an older version did (photo.jpg)"


def _deep(folder: Path) -> str:
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/photo.jpg").write_text("mine")
    return "did not write it, or an older version did (a/b/photo.jpg)"


def _an_empty_folder_in_it(folder: Path) -> str:
    (folder / "a/b").mkdir(parents=True)
    return "did not write it, or an older version did (a/b)"


def _of_another_command(folder: Path) -> str:
    made(folder, "silmm align", a="1")
    return "not empty: `silmm align` wrote it, not `silmm images`"


def _with_a_file_more(folder: Path) -> str:
    made(folder, a="1")
    (folder / "notes").write_text("mine")
    return "holds what `silmm images` did not write (notes)"


def _with_a_link_more(folder: Path) -> str:
    made(folder, a="1")
    (folder / "link").symlink_to(folder.parent)
    return "holds what `silmm images` did not write (link)"


def _a_marker_by_its_name_alone(folder: Path) -> str:
    folder.mkdir()
    (folder / MARKER).write_text("[]")
    (folder / "photo.jpg").write_text("mine")
    return "did not write it"


def _a_file(folder: Path) -> str:
    folder.write_text("mine")
    return "a file, but `silmm images` writes a folder"


STRANGE = [
    _foreign,
    _deep,
    _an_empty_folder_in_it,
    _of_another_command,
    _with_a_file_more,
    _with_a_link_more,
    _a_marker_by_its_name_alone,
]
STRANGE.append(_a_file)


@pytest.mark.parametrize("make", STRANGE)
def test_a_folder_that_is_not_its_own_is_left_alone(make: Callable[[Path], str], tmp_path: Path) -> None:
    says = make(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught, atomic_dir(tmp_path / "out", OWN):
        raise AssertionError("the work has begun")
    assert says in str(caught.value) and "give a new folder" in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", [".", "..", "a/..", "/"])
def test_a_folder_without_a_name_is_none_to_write(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the name of a new one"):
        check_dir(Path(name), OWN)
    assert not list(tmp_path.iterdir())


def test_what_came_while_it_worked_is_left_alone(tmp_path: Path) -> None:
    def work() -> None:
        with atomic_dir(tmp_path / "out", OWN) as folder:
            (folder / "a").write_text("new")
            _foreign(tmp_path / "out")

    with pytest.raises(InputError, match="did not write it"):
        work()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "photo.jpg"]


def test_a_former_folder_is_never_the_only_copy(tmp_path: Path) -> None:
    """A process that was killed between two renames has left it under its temporary name."""
    made(tmp_path / "out", a="1").rename(tmp_path / ".partial-old-out")
    check_dir(tmp_path / "out", OWN)
    assert (tmp_path / "out/a").read_text() == "1"
    _foreign(tmp_path / ".partial-old-out")
    with pytest.raises(InputError, match="partial-old-out: not empty"), atomic_dir(tmp_path / "out", OWN):
        raise AssertionError("the work has begun")
    assert (tmp_path / ".partial-old-out/photo.jpg").read_text() == "mine"


def test_a_folder_that_cannot_be_replaced_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "out", a="1")
    rename = Path.rename

    def broken(path: Path, target: Path) -> None:
        if path.name == ".partial-out":
            raise OSError("no")
        rename(path, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(OSError, match="no"):
        made(tmp_path / "out", a="2")
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out/a").read_text() == "1"


def test_the_marker_is_no_part_of_a_fingerprint(tmp_path: Path) -> None:
    folder = made(tmp_path / "out", a="1")
    before = states.fingerprint({}, [folder])
    (folder / MARKER).unlink()
    assert states.fingerprint({}, [folder]) == before
    (folder / "b").touch()
    assert states.fingerprint({}, [folder]) != before


@pytest.mark.parametrize("program", [tiny.main, judges.main])
def test_tiny_weights_replace_nothing_either(
    program: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    _foreign(tmp_path / "out")
    monkeypatch.setattr("sys.argv", ["tiny", *(["--kind", "dpt"] if program is judges.main else []), "--out", "out"])
    with pytest.raises(SystemExit) as stop:
        program()
    assert stop.value.code == 2 and "photo.jpg" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.jpg"]


# --- files -----------------------------------------------------------------------------------------------------------

SCORE = {"prompt_id": ["p0"], "sample": [0], "question_id": ["q0"], "p_yes": [1.0], "p_no": [0.0]}
PAIR = {"prompt_id": ["p0"], "chosen": [0], "rejected": [1], "score_chosen": [1.0], "score_rejected": [0.0]}
PROMPT = Prompt("p0", "attribute", "color", "a red circle", 0)


def _is(path: Path, kind: object) -> bool:
    try:
        check_file(path, kind)  # type: ignore[arg-type]
    except InputError:
        return False
    return True


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    write_table(tmp_path / "scores", SCORE, SCORES)
    write_jsonl(tmp_path / "prompts", [PROMPT])
    write_json(tmp_path / "stats", PromptStats(1, 2, {"invalid": 1}))
    (tmp_path / "table").write_text("a,b\n1,2\n")
    Image.new("RGB", (3, 3)).save(tmp_path / "png", format="PNG", pnginfo=png_signature())
    Image.new("RGB", (3, 3)).save(tmp_path / "photo", format="PNG")
    (tmp_path / "text").write_text('{"id": 1}\n')
    kinds = {"scores": SCORES, "prompts": Prompt, "stats": PromptStats, "table": ("a", "b"), "png": PNG}
    for name in (*kinds, "photo", "text"):
        for other, kind in {**kinds, "pairs": PAIRS, "pdf": PDF, "page": PAGE}.items():
            assert _is(tmp_path / name, kind) == (name == other), (name, other)
    assert PAGE in PARTS["html"].read_bytes()
    (tmp_path / "nothing").touch()
    assert all(_is(tmp_path / name, kind) for name in ("nothing", "none") for kind in kinds.values())
    assert not _is(tmp_path, PNG) and not _is(Path("/dev/null"), PNG)


def test_a_writer_looks_once_more(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def work() -> None:
        with atomic_file(out, ("a", "b")) as temporary:
            temporary.write_text("a,b\n")
            out.write_text("mine")

    with pytest.raises(InputError, match="something else"):
        work()
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and out.read_text() == "mine"
    for write in (
        lambda: write_table(out, SCORE, SCORES),
        lambda: write_jsonl(out, [PROMPT]),
        lambda: write_json(out, PromptStats(1, 2, {})),
    ):
        with pytest.raises(InputError, match="out: holds something else"):
            write()
    assert out.read_text() == "mine"
    write_table(tmp_path / "own", SCORE, SCORES)
    write_table(tmp_path / "own", {**SCORE, "sample": [1]}, SCORES)
    with pytest.raises(InputError, match="own: holds something else"):
        write_table(tmp_path / "own", PAIR, PAIRS)


def test_a_figure_replaces_none_of_its_three_files(tmp_path: Path) -> None:
    data = pd.DataFrame({"a": [1.0], "b": [-0.0]})
    figure = plt.figure()
    for _ in range(2):
        style.save(figure, data, tmp_path / "own")
    assert (tmp_path / "own.csv").read_text() == "a,b\n1,0\n"
    (tmp_path / "x.csv").write_text("mine,numbers\n1,2\n")
    with pytest.raises(InputError, match=r"x.csv: holds something else"):
        style.save(figure, data, tmp_path / "x")
    plt.close(figure)
    assert sorted(path.name for path in tmp_path.glob("x*")) == ["x.csv"]


# --- commands --------------------------------------------------------------------------------------------------------


def test_every_command_with_an_output_is_in_the_table() -> None:
    parser = cli.build_parser()
    (commands,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))
    named = {
        name: {a.dest for a in sub._actions} & {"out", "stats", "gains_out"}
        for name, sub in commands.items()
        if any(a.dest == "out" for a in sub._actions)
    }
    checked = {name: {"out"} for name in (*FOLDER, *FIGURES)} | {n: set(o) for n, o in (FILES | TABLES).items()}
    assert named == checked | {"draw": {"out"}}  # which has a check of its own


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures of a user's, in a folder with his notes; beside it, what benchmarks read."""
    (tmp_path / "mine/pictures").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mine/pictures/00000.png")
    return tmp_path / "mine/pictures"


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("mine/pictures", "--out is an input (--images mine/pictures): give another place"),
        ("mine", "--out holds an input (--images mine/pictures): give another place"),
        ("data", "--out is an input (--data data): give another place"),
        ("other", "other: not empty, and `silmm benchmark` did not write it"),
    ],
)
def test_benchmark_leaves_the_pictures(out: str, says: str, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _foreign(Path("other"))
    words = ["benchmark", "geneval", "--data", "data", "--images", "mine/pictures"]
    assert says in refused([*words, "--out", out], capsys)


def inputs() -> None:
    """What the commands below read, as far as names go."""
    for name in ("ckpt", "images", "weights"):
        Path(name).mkdir()
        (Path(name) / "mine").write_text("mine")
    for name in ("prompts.jsonl", "qa.jsonl", "scores.parquet", "pairs.parquet", "humans.json", "s.csv", "g.csv"):
        Path(name).write_text("{}\n")
    Path("ckpt/config.json").write_text('{"silmm_family": "shapeworld_discrete"}')  # `draw` asks how it draws


FOREIGN = {
    "pretrain --lmm discrete --seed 0 --state state": "folder",
    "adopt --family janus --weights weights": "folder",
    "images --ckpt ckpt --prompts prompts.jsonl --iteration 1": "folder",
    "align --ckpt ckpt --pairs pairs.parquet --prompts prompts.jsonl --qa qa.jsonl --images images --iteration 1"
    " --state state": "folder",
    "benchmark-images geneval --ckpt ckpt --data images": "folder",
    "agreement-maps --humans humans.json --pictures images": "folder",
    "draw circle --ckpt ckpt": "folder",
    "prompts --ckpt ckpt --iteration 1 --stats stats.json": "photo.jpg",
    "questions --ckpt ckpt --prompts prompts.jsonl --stats stats.json": "photo.jpg",
    "score --ckpt ckpt --qa qa.jsonl --images images": "photo.jpg",
    "gather scores.parquet": "photo.jpg",
    "pairs --scores scores.parquet --qa qa.jsonl --images images --iteration 1 --stats stats.json": "photo.jpg",
    "evaluate --ckpt ckpt --stats stats.json": "photo.jpg",
    "audit --prompts prompts.jsonl --qa qa.jsonl --scores scores.parquet --images images": "photo.jpg",
    "contact-sheet --base ckpt --after images": "photo.png",
    "sample-sheet --base ckpt --after images": "photo.png",
    "diversity --ckpt ckpt": "photo.jpg",
    "gallery --ckpt-of lmm=discrete,iteration=0,dir=ckpt": "photo.jpg",
    "agreement --humans humans.json": "foreign.csv",
    "summarize --entry lmm=discrete,arm=base,seed=0,iteration=0,dir=ckpt --gains-out gains.csv": "foreign.csv",
    "figure --summary s.csv --gains g.csv": "photo.png",
    "kc-dpo-curves --aligned lmm=continuous,arm=a,seed=0,iteration=1,dir=ckpt": "foreign.csv",
    "divdrop-grid --ckpt ckpt": "photo.png",
    "draw circle --best --ckpt ckpt": "photo.png",
    "draw circle --n 1 --ckpt ckpt": "photo.png",
}


@pytest.mark.parametrize("words", FOREIGN, ids=[words.split(" --")[0] for words in FOREIGN])
def test_every_command_leaves_what_is_not_its_own(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    inputs()
    out = Path(FOREIGN[words])
    if out.name == "folder":
        _foreign(out)
    elif out.suffix == ".csv":
        out.write_text("my,numbers\n1,2\n")
    else:
        Image.new("RGB", (3, 3)).save(out)
    assert str(out) in refused([*words.split(), "--out", str(out)], capsys)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("score --ckpt ckpt --qa qa.jsonl --images images --out qa.jsonl", "--out is an input (--qa qa.jsonl)"),
        ("gather scores.parquet --out scores.parquet", "--out is an input (--shards scores.parquet)"),
        ("evaluate --ckpt ckpt --out a --stats ./a", "--stats is --out, or lies in it"),
        ("pretrain --lmm discrete --seed 0 --state x/y --out x", "--state is --out, or lies in it"),
        ("figure --summary s.csv --gains g.csv --out s.png", "--out (.csv) is an input (--summary s.csv)"),
        ("adopt --family janus --weights weights --out weights", "--out is an input (--weights weights)"),
    ],
)
def test_an_output_is_no_input_and_no_other_output(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    inputs()
    assert says in refused(words.split(), capsys)


# --- what is removed when the work is done --------------------------------------------------------------------------


def test_a_state_folder_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    state = tmp_path / "mine/state"
    (state / ("0123456789abcdef" * 2)).mkdir(parents=True)
    (state / "thesis").mkdir()
    (state / "thesis/chapter.txt").write_text("mine")
    journal.close(state)
    assert [path.name for path in state.rglob("*")] == ["thesis", "chapter.txt"]


def test_curves_of_others_stay(tmp_path: Path) -> None:
    other = tmp_path / f"{EVENTS}1.host.1.0"
    other.write_text("mine")
    for _ in range(2):
        with curves(tmp_path) as draw:
            draw(0, {"loss": 1.0})
    assert other.read_text() == "mine" and len(list(tmp_path.iterdir())) == 2
