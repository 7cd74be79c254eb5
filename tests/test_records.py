"""Stage files: what is written can be read, what is damaged is refused in one line, what is half done has no name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silmm.records import (
    EVAL,
    PAIRS,
    SCORES,
    EvalStats,
    Metric,
    Prompt,
    PromptQuestions,
    PromptStats,
    Question,
    RecordError,
    Table,
    atomic_dir,
    atomic_file,
    gather,
    read_json,
    read_jsonl,
    read_table,
    write_json,
    write_jsonl,
    write_table,
)
from silmm.schemas import CATEGORIES, SUBCATEGORIES

PROMPTS = [
    Prompt("p000", "attribute", "color", "a red circle and a blue square", 0),
    Prompt("p001", "layout", "numeracy", "three small stars", 2),
]
QA = [
    PromptQuestions(
        "p000",
        ("a red circle",),
        (Question("q0", "is there a circle ?"), Question("q1", "is the circle red ?", "yes", ("q0",))),
    ),
    PromptQuestions("p001", (), ()),
]


def scores(prompts: tuple[str, ...] = ("p000", "p001"), samples: int = 2) -> dict[str, Any]:
    keys = [(p, s, q) for p in prompts for s in range(samples) for q in ("q0", "q1")]
    yes = np.linspace(0.1, 0.9, len(keys))
    return {
        "prompt_id": [k[0] for k in keys],
        "sample": np.array([k[1] for k in keys]),
        "question_id": [k[2] for k in keys],
        "p_yes": yes,
        "p_no": (1 - yes).astype(np.float32),
    }


def refusal(call: Callable[[], object]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(RecordError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- JSON lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "kind"), [(PROMPTS, Prompt), (QA, PromptQuestions)])
def test_json_lines_come_back_as_written(tmp_path: Path, rows: list[Any], kind: type) -> None:
    write_jsonl(tmp_path / "a.jsonl", rows)
    write_jsonl(tmp_path / "b.jsonl", rows)
    assert read_jsonl(tmp_path / "a.jsonl", kind) == rows
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_keys_stand_in_the_order_of_the_schema(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    first = json.loads((tmp_path / "prompts.jsonl").read_text().splitlines()[0])
    assert list(first) == ["id", "category", "subcategory", "prompt", "attempt"]


def prompt_line(**changes: Any) -> str:
    row = {"id": "p9", "category": "attribute", "subcategory": "color", "prompt": "a red circle", "attempt": 0}
    return json.dumps({k: v for k, v in {**row, **changes}.items() if v != "absent"}) + "\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (prompt_line(subcategory="colour"), "field 'subcategory' is 'colour': expected one of color, shape"),
        (prompt_line(category="colour"), "field 'category' is 'colour': expected one of attribute, layout"),
        (prompt_line(attempt="1"), "field 'attempt' is '1': expected a whole number"),
        (prompt_line(attempt=True), "field 'attempt' is True: expected a whole number"),
        (prompt_line(prompt="absent"), "field 'prompt' is missing"),
        (prompt_line(score=1), "field 'score' is unknown"),
        (prompt_line(id="p000"), "field 'id' is 'p000': this id was there before"),
        (prompt_line(id="../p"), "field 'id' is '../p': expected an id: at most 100 letters"),
        ('{"id": "p9", "cat\n', "not JSON"),
        ('"p9"\n', "the line is 'p9': expected an object"),
        ("\n", "not JSON"),
    ],
)
def test_a_corrupt_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, PROMPTS)
    path.write_text(path.read_text() + line)
    message = refusal(lambda: read_jsonl(path, Prompt))
    assert message.startswith(f"{path}:3: ")
    assert says in message
    assert message.endswith("delete the file and re-run the stage that makes it (silmm prompts)")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    write_jsonl(path, QA)
    path.write_bytes(path.read_bytes()[:-1])
    assert "cut short" in refusal(lambda: read_jsonl(path, PromptQuestions))


def test_a_missing_file_is_named_with_its_stage(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    assert refusal(lambda: read_jsonl(path, PromptQuestions)) == (
        f"{path}: no such file; run the stage that makes it (silmm questions)"
    )


def test_questions_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "qa.jsonl"
    twice = PromptQuestions("p000", (), (Question("q0", "a ?"), Question("q0", "b ?")))
    lost = PromptQuestions("p000", (), (Question("q0", "a ?", "yes", ("q7",)),))
    maybe = PromptQuestions("p000", (), (Question("q0", "a ?", "maybe"),))
    for row, says in (
        (twice, "field 'questions[1].id' is 'q0': this id"),
        (lost, "question 'q0' has unknown parent 'q7'"),
        (maybe, "field 'questions[0].expected' is 'maybe': expected one of yes, no"),
    ):
        assert says in refusal(lambda row=row: write_jsonl(path, [row]))  # type: ignore[misc]
        assert not path.exists()


def test_the_categories_are_those_of_the_language() -> None:
    from silmm.shapeworld import language

    assert language.SUBCATEGORIES == SUBCATEGORIES
    assert set(language.CATEGORY.values()) == set(CATEGORIES)


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_stats_come_back_as_written(tmp_path: Path) -> None:
    stats = EvalStats((Metric("diversity", "t1.0", "all", np.float32(0.5), 640),))
    write_json(tmp_path / "eval.stats.json", stats)
    assert read_json(tmp_path / "eval.stats.json", EvalStats) == stats


def test_more_keys_than_the_schema_names_are_allowed_in_stats(tmp_path: Path) -> None:
    path = tmp_path / "prompts.stats.json"
    write_json(path, {"kept": 3, "drafts": 5, "dropped": {"invalid": 2}, "temperature": 1.0})
    assert read_json(path, PromptStats) == PromptStats(3, 5, {"invalid": 2})
    write_json(path, {"kept": 3, "drafts": 5, "dropped": {"invalid": "two"}})
    assert "field 'dropped.invalid' is 'two': expected a whole number" in refusal(lambda: read_json(path, PromptStats))


def test_not_a_number_never_reaches_a_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "eval.stats.json", EvalStats((Metric("m", "s", "all", float("nan"), 1),)))
    assert not list(tmp_path.iterdir())


# --- tables ---------------------------------------------------------------------------------------------------------


def test_a_table_comes_back_as_written_and_has_the_same_bytes(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", scores(), SCORES)
    write_table(tmp_path / "b.parquet", {name: list(scores()[name]) for name in reversed(SCORES.columns)}, SCORES)
    table = read_table(tmp_path / "a.parquet", SCORES)
    assert table.column_names == list(SCORES.columns)
    assert table["sample"].to_pylist() == list(scores()["sample"])
    assert np.allclose(table["p_yes"].to_numpy(), scores()["p_yes"])
    assert table.schema.metadata is None
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_an_empty_shard_is_a_table(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", {name: [] for name in SCORES.columns}, SCORES)
    assert read_table(tmp_path / "a.parquet", SCORES).num_rows == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"p_yes": [0.5] * 7 + [1.5]}, "column 'p_yes' spans 0.5 to 1.5: expected probabilities"),
        ({"p_yes": [0.5] * 7 + [float("nan")]}, "column 'p_yes' has values that are not finite"),
        ({"p_no": [0.5] * 7 + [None]}, "column 'p_no' has 1 missing values"),
        ({"sample": [0] * 8}, "duplicate row prompt_id=p000, sample=0, question_id=q0"),
        ({"sample": ["a"] * 8}, "'a'"),
        ({"p_no": [0.5] * 7}, "expected length 8 but got length 7"),
    ],
)
def test_a_bad_column_is_never_written(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "scores.parquet"
    message = refusal(lambda: write_table(path, {**scores(), **changes}, SCORES))
    assert message.startswith(f"{path}: ")
    assert says in message
    assert not list(tmp_path.iterdir())


def test_a_truncated_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_table(path, scores(), SCORES)
    whole = path.read_bytes()
    for length in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert refusal(lambda: read_table(path, SCORES)).startswith(f"{path}: not a readable parquet file (")


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_table(path, scores(), SCORES)
    assert "columns are prompt_id, sample, question_id, p_yes, p_no: expected prompt_id, chosen" in refusal(
        lambda: read_table(path, PAIRS)
    )
    wide = Table("score", {**SCORES.columns, "sample": "int64"}, SCORES.key)
    write_table(path, scores(), wide)
    assert "column 'sample' is int64: expected int32" in refusal(lambda: read_table(path, SCORES))
    assert refusal(lambda: read_table(tmp_path / "none", SCORES)).endswith(
        "no such file; run the stage that makes it (silmm score)"
    )


def test_an_unknown_subcategory_is_refused(tmp_path: Path) -> None:
    row = {"sampler": "t1.0", "prompt_id": "e0", "subcategory": "colour", "sample": 0, "unit": "exist(circle)"}
    row |= {"kind": "exist", "oracle": True, "p_yes": 0.9, "p_no": 0.1, "malformed": False, "objects": 1}
    message = refusal(lambda: write_table(tmp_path / "e", {k: [v] for k, v in row.items()}, EVAL))
    assert "column 'subcategory' has 'colour'" in message


def test_shards_are_gathered_in_the_order_of_the_key(tmp_path: Path) -> None:
    shards = []
    for i, prompt in enumerate(("p001", "p000")):
        shards.append(tmp_path / f"shard-{i}.parquet")
        write_table(shards[-1], scores((prompt,)), SCORES)
    gather(shards, tmp_path / "scores.parquet")
    assert read_table(tmp_path / "scores.parquet", SCORES)["prompt_id"].to_pylist() == ["p000"] * 4 + ["p001"] * 4
    assert "duplicate row prompt_id=p001" in refusal(lambda: gather([shards[0]] * 2, tmp_path / "twice.parquet"))
    assert not (tmp_path / "twice.parquet").exists()


# --- whole or not at all --------------------------------------------------------------------------------------------


def test_an_error_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def file() -> None:
        with atomic_file(tmp_path / "a" / "file") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    def folder() -> None:
        with atomic_dir(tmp_path / "a" / "folder", "silmm images") as temporary:
            (temporary / "one").write_text("half")
            raise RuntimeError

    for write in (file, folder):
        with pytest.raises(RuntimeError):
            write()
    assert not list((tmp_path / "a").iterdir())


def test_an_error_in_the_middle_keeps_what_was_there(tmp_path: Path) -> None:
    with atomic_dir(tmp_path / "folder", "silmm images") as temporary:
        (temporary / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_dir(tmp_path / "folder", "silmm images"):
        raise RuntimeError
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".silmm", "folder", "old"]
    with atomic_dir(tmp_path / "folder", "silmm images") as temporary:
        for i in range(40):
            (temporary / f"{i}.png").write_text("new")
    assert len(list((tmp_path / "folder").glob("[!.]*"))) == 40


KILLED = """
import sys, time
from pathlib import Path
from silmm.records import atomic_dir, atomic_file
with {kind}(Path(sys.argv[1]), *sys.argv[2:]) as temporary:
    (temporary / "part" if temporary.is_dir() else temporary).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["atomic_file", "atomic_dir"])
def test_a_killed_writer_leaves_no_final_name_and_the_next_one_cleans_up(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "output"
    src = str(Path(__file__).parents[1] / "src")
    more = ["silmm images"] if kind == "atomic_dir" else []
    command = [sys.executable, "-c", KILLED.format(kind=kind), str(path), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": src}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [".partial-output"]
    with (atomic_file if kind == "atomic_file" else atomic_dir)(path, *more) as temporary:
        (temporary / "part" if kind == "atomic_dir" else temporary).write_text("whole")
    assert [p.name for p in tmp_path.iterdir()] == ["output"]
