"""Drafts that are prompts of a benchmark, or all but, are told from those that are not; and dropped in step 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from silmm.benchmarks.contamination import OVERLAP, Index, index, load, match, normalised, pairs
from silmm.benchmarks.prompt_files import files_of, prompts_by_file, told
from silmm.errors import InputError, RecordError
from silmm.open_language.examples import PROMPTS
from silmm.shapeworld.language import SUBCATEGORIES, write_prompt
from silmm.shapeworld.sample import sample_spec

EXACT, NEAR = "benchmark_exact", "benchmark_near"
LONG = (
    "An old wooden boat lies on a quiet beach in the evening, its blue paint coming off in long strips, while two white"
    " gulls stand on its edge and look out over the calm grey sea."
)


@pytest.fixture(scope="module")
def known() -> Index:
    return index(["a red car and a blue dog", "A cat is chasing a mouse.", "a photo of two boxes", "caf\u00e9", LONG])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a red car and a blue dog", EXACT),
        ("The red car and  a blue dog.", EXACT),
        ("\uff21 RED car\u00a0and the blue dog!", EXACT),
        ("Cafe\u0301", EXACT),
        ("A blue dog and a red car", NEAR),
        ("a blue dog, a red car", NEAR),
        ("red cars and a blue dog", NEAR),
        ("a picture of a red car and a blue dog", NEAR),
        ("there is a red car and there is a blue dog", NEAR),
        ("2 boxes", NEAR),
        ("a cat chasing a mouse", NEAR),
        (LONG.replace("quiet", "silent"), NEAR),
        (LONG.replace("calm ", ""), NEAR),
        ("a blue car and a red dog", None),
        ("a red car and a green dog", None),
        ("a red car", None),
        ("a red car and a blue dog and a bird", None),
        ("a mouse chasing a cat", None),
        ("three boxes", None),
        (LONG.split(",")[0], None),
        ("", None),
        ("...", None),
    ],
)
def test_a_rewritten_prompt_is_found_and_another_is_not(text: str, reason: str | None, known: Index) -> None:
    hit = match(text, known)
    assert (hit and hit[0]) == reason
    if hit:
        assert set(normalised(hit[1]).split()) & {"red", "box", "boxes", "cat", "caf\u00e9", "boat"}


@pytest.mark.parametrize(("changed", "words"), [("other", 17), ("", 13)])
def test_a_word_may_differ_in_a_long_prompt_and_not_in_a_short_one(changed: str, words: int) -> None:
    for n, reason in ((words - 1, None), (words, NEAR)):
        text = " ".join(f"word{i}" for i in range(n))
        hit = match(text.replace("word5", changed), index([text]))
        assert (hit and hit[0]) == reason


def test_what_holds_no_words_matches_nothing() -> None:
    assert match("?!", index(["...", "", "\u2764"])) is None


@pytest.mark.parametrize("overlap", [Fraction(1, 2), Fraction(7, 10), OVERLAP, Fraction(1)])
def test_the_index_finds_what_a_comparison_with_every_prompt_finds(overlap: Fraction) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("uvwxyz"), rng.integers(1, 9))) for _ in range(300)]
    known = index(texts[:150])
    for text in texts:
        own = pairs(text)
        slow = next((p for p in known.prompts if len(own & pairs(p)) >= overlap * len(own | pairs(p))), None)
        found = match(text, known, overlap)
        if found is None or slow is None:
            assert found is slow is None
        elif found[0] == NEAR and "".join(sorted(found[1])) != "".join(sorted(text)):
            assert found[1] == slow


def template_prompts(n: int) -> list[str]:
    """What ShapeWorld's LMMs and the open world's instructions are shown."""
    rng = np.random.default_rng(0)
    specs = [sample_spec(rng, SUBCATEGORIES[i % len(SUBCATEGORIES)], held_out=False) for i in range(n)]
    return [*(write_prompt(spec, rng) for spec in specs), *(text for rows in PROMPTS.values() for text in rows)]


def test_sixteen_thousand_drafts_against_ten_thousand_prompts_take_seconds() -> None:
    rng = np.random.default_rng(1)
    words = [f"thing{i}" for i in range(300)]
    rows = [f"a {a} {b} and a {c} {d}" for a, b, c, d in rng.choice(words, (10_000, 4))]
    began = time.process_time()
    known = index(rows)
    hits = [match(text, known) for text in (*rows, *template_prompts(6_000))]
    assert time.process_time() - began < 20
    assert [hit and hit[1] for hit in hits] == [*rows, *[None] * (len(hits) - len(rows))]


FOLDER = os.environ.get("SILMM_BENCHMARKS")


@pytest.mark.skipif(not FOLDER, reason="SILMM_BENCHMARKS names no folder with the benchmarks' official files")
def test_official_prompts_are_read_and_templates_are_no_rewrites_of_them() -> None:
    folder = Path(str(FOLDER))
    found = prompts_by_file([folder])
    counts = {file.relative_to(folder).as_posix(): len(rows) for file, rows in found.items()}
    assert counts["t2i-compbench/color_val.txt"] == 300
    assert counts["tifa/tifa_v1.0_text_inputs.json"] == 4081
    assert (counts["geneval/generation_prompts.txt"], counts["geneval/evaluation_metadata.jsonl"]) == (553, 553)
    assert (counts["geneval2/geneval2_data.jsonl"], counts["dpg-bench/prompts.jsonl"]) == (800, 1065)
    assert counts["dsg-1k/dsg-1k-anns.csv"] == 8182
    assert not {name for name in counts if "LICENSE" in name or "likert" in name or "object" in name or "label" in name}
    known = index(text for rows in found.values() for text in rows)
    drafts = template_prompts(4_000)
    assert sum(match(text, known) is not None for text in drafts) < len(drafts) / 1000


@pytest.mark.skipif(not FOLDER, reason="SILMM_BENCHMARKS names no folder with the benchmarks' official files")
def test_the_command_counts_what_t2i_compbench_has_on_both_sides() -> None:
    folder = Path(str(FOLDER), "t2i-compbench")
    words = [folder / "spatial_train.txt", folder / "3d_spatial_train.txt", "--against", *folder.glob("*_val.txt")]
    done = run_command(*words)
    head, *lines = [line.split("\t") for line in done.stdout.splitlines()]
    rows = [dict(zip(head, line, strict=True)) for line in lines if len(line) == len(head)]
    assert {Path(row["file"]).name: (row["exact"], row["near 0.8*"]) for row in rows} == {
        "spatial_train.txt": ("2", "0"),
        "3d_spatial_train.txt": ("0", "0"),
    }
    assert sum(line[0] == EXACT for line in lines) == 2


def run_command(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "silmm.benchmarks.contamination", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("a red car\nThe red car.\n")
    done = run_command(tmp_path / "mine.txt", "--against", tmp_path / "mine.txt")
    assert done.stdout.splitlines()[1].split("\t")[:4] == ["2", "2", "0", "0"]
    done = run_command(tmp_path / "mine.txt", "--against", tmp_path / "none")
    assert done.returncode == 2
    assert f"{tmp_path / 'none'}: no such file or folder" in done.stderr.splitlines()[-1]


# --- files --------------------------------------------------------------------------------------------------------

GOOD = {
    "a/prompts.txt": "a red car\r\n\n  a blue dog \n",
    "a/0.txt": "\ufeffa long prompt, in one file",
    "rows.jsonl": '{"tag": 1, "prompt": "a cow"}\n\n{"prompt": "a cow"}\n',
    "rows.json": '[{"id": "x", "caption": "a hen"}]',
    "by_id.json": '{"x": {"text": "a pig"}, "y": {"text": "an ox"}}',
    "one.json": '{"prompt": "an ant"}',
    "rows.csv": 'index,prompt_en\n0,"a bee,\na wasp"\n',
    "anns.csv": "item_id,text,question\n1,a fox,Is it?\n",
}
OTHERS = {
    **dict.fromkeys(("LICENSE.txt", "SOURCE.md", "README.txt", ".hidden.txt", ".git/x.txt", "x.png"), "a text"),
    **{"object_names.txt": "cat\ndog\n", "labels.json": '["cat", "dog"]', "images.json": '{"x": "x.jpg"}'},
    **{"likert.csv": "item,answer\n1,5\n", "empty.txt": "\n"},
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def test_prompts_of_every_kind_of_file_are_found(tmp_path: Path) -> None:
    found = prompts_by_file([write(tmp_path, GOOD | OTHERS)])
    assert {file.relative_to(tmp_path).as_posix(): rows for file, rows in found.items()} == {
        "a/prompts.txt": ["a red car", "a blue dog"],
        "a/0.txt": ["a long prompt, in one file"],
        "rows.jsonl": ["a cow", "a cow"],
        "rows.json": ["a hen"],
        "by_id.json": ["a pig", "an ox"],
        "one.json": ["an ant"],
        "rows.csv": ["a bee,\na wasp"],
        "anns.csv": ["a fox"],
    }
    line = told(tmp_path, found)
    assert line.startswith(f"{tmp_path}: 10 prompts of 8 files (1 of a/0.txt, 2 of a/prompts.txt, ")
    assert told(tmp_path / "rows.jsonl", found) == f"{tmp_path / 'rows.jsonl'}: 1 prompts of 1 file"


@pytest.mark.parametrize("name", [name for name in OTHERS if name.endswith((".json", ".csv")) or name == "empty.txt"])
def test_a_named_file_without_prompts_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, OTHERS)
    with pytest.raises(RecordError, match=f"{name}: no prompts: expected lines of text, or records with prompt or"):
        prompts_by_file([tmp_path / name])


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": \n', "a.jsonl:2: not JSON"),
        ("a.jsonl", '{"prompt": "x"}\n{"tag": "y"}\n', "a.jsonl:2: no text under 'prompt'"),
        ("a.jsonl", '{"prompt": "x"}\n["y"]\n', "a.jsonl:2: no text under 'prompt'"),
        ("a.json", '[{"caption": "x"}, {"caption": " "}]', "a.json: record 2: no text under 'caption'"),
        ("a.json", '{"k": {"text": "x"}, "l": {"text": 3}}', "a.json: 'l': no text under 'text'"),
        ("a.json", "[" * 100_000, "a.json: not JSON"),
        ("a.csv", "prompt,n\nx,1\n,2\n", "a.csv:3: no text under 'prompt'"),
        ("a.csv", 'prompt,n\n"x,1\n', "a.csv:1: not CSV"),
        ("a.txt", b"caf\xe9\n", "a.txt: not UTF-8 text (byte 3)"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(name: str, content: str | bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text("a prompt\n")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for given in (tmp_path, tmp_path / name):
        with pytest.raises(RecordError) as caught:
            prompts_by_file([given])
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_paths_that_hold_no_prompts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/x.png").touch()
    for path, says in (
        ("none", "no such file or folder"),
        ("pictures", "no prompts in this folder"),
        ("pictures/x.png", "not a file of prompts by its name: expected .txt, .jsonl, .json, .csv"),
    ):
        with pytest.raises(InputError, match=says):
            load([tmp_path / path])
    assert files_of(tmp_path / "pictures") == []


def test_loading_says_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, GOOD)
    assert len(load([tmp_path / "a", tmp_path / "rows.json"]).prompts) == 4
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"benchmark prompts: {tmp_path / 'a'}: 3 prompts of 2 files (1 of 0.txt, 2 of prompts.txt)"
    assert second == f"benchmark prompts: {tmp_path / 'rows.json'}: 1 prompts of 1 file"


def test_what_is_counted_is_json(known: Index) -> None:
    assert json.loads(json.dumps(match("2 boxes", known))) == [NEAR, "a photo of two boxes"]
