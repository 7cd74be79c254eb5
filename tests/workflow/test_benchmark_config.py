"""Benchmarks in the config: what may be said of them, and what the schema and the code refuse alike."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from silmm.benchmark_config import IN_TABLE_1, Judged, benchmarks, drawing
from silmm.benchmarks.registry import BENCHMARKS, get
from silmm.errors import InputError
from silmm.report.table_1 import HEAD
from silmm.settings import Images

from .test_config import SCHEMA, config

RIGHT: dict[str, Any] = {
    "data": "a",
    "judges": {"vqa": "b c", "clip": "d"},
    "only": ["x", "y"],
    "first": 2,
    "shards": 3,
}


def test_what_the_config_says_of_a_benchmark() -> None:
    found = benchmarks({"benchmarks": {"tifa": {"data": "t"}, "dsg_1k": None, "t2i_compbench++": RIGHT}})
    assert list(found) == ["t2i_compbench++", "tifa"]  # the registry's order, whatever the file's
    assert found["tifa"] == Judged("t") and found["tifa"].part() == ""
    whole = found["t2i_compbench++"]
    assert whole.part() == "--only x,y --first 2"
    assert whole.judge_options() == "--judge 'vqa=b c' --judge clip=d"
    assert benchmarks({}) == benchmarks({"benchmarks": None}) == {}


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("t2i", {}, "unknown key 'benchmarks.t2i'; known are t2i_compbench"),
        ("tifa", {"data": ""}, "benchmarks.tifa.data is '': must be the folder"),
        ("tifa", {"data": 3}, "benchmarks.tifa.data is 3: must be a text"),
        ("tifa", {"judges": {"eye": "x"}}, "unknown key 'benchmarks.tifa.judges.eye'; known are vqa"),
        ("tifa", {"judges": {"vqa": ""}}, "benchmarks.tifa.judges.vqa is '': must be the folder of a judge"),
        ("tifa", {"judges": ["x"]}, r"benchmarks.tifa.judges is \['x'\]: must be a mapping"),
        ("tifa", {"only": []}, r"benchmarks.tifa.only is \[\]: must be a list"),
        ("tifa", {"first": -1}, "benchmarks.tifa.first is -1: must be at least 0"),
        ("tifa", {"shards": 0}, "benchmarks.tifa.shards is 0: must be at least 1"),
        ("tifa", {"pictures": 4}, "unknown key 'benchmarks.tifa.pictures'; known are data"),
    ],
)
def test_schema_and_code_refuse_the_same(name: str, change: dict[str, Any], says: str) -> None:
    whole = {**config("default"), "shipped": None}
    jsonschema.validate({**whole, "benchmarks": {"tifa": RIGHT, "dsg_1k": None}}, SCHEMA)
    wrong = {**whole, "benchmarks": {name: {**RIGHT, **change}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)
    with pytest.raises(InputError, match=f"^config: {says}"):
        benchmarks(wrong)


def test_pictures_to_be_judged_are_drawn_without_divdrop() -> None:
    options = drawing(Images(rate=0.3, noise="prompt", guidance=5.0, n=30))
    assert "--rate 0.0 " in options and options.endswith("--noise free") and "--guidance 5.0" in options
    assert "--n " not in options and "--noises" not in options


def test_the_columns_of_table_1_are_of_benchmarks_that_there_are() -> None:
    assert list(dict.fromkeys(name for name, _ in HEAD)) == list(IN_TABLE_1)
    assert set(IN_TABLE_1) <= set(BENCHMARKS)
    t2i = get("t2i_compbench++")
    grouped = {category for name in ("attribute", "layout") for category in t2i.groups[name]}
    of_t2i = {category for name, category in HEAD if name == t2i.name}
    assert of_t2i - set(t2i.groups) == set(t2i.groups["all"]) - grouped
