"""A config that cannot be: one short line that names the key, whichever way it is wrong, before anything runs."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from silmm import arms, config_files
from silmm.errors import InputError
from tests.workflow.conftest import ROOT, run_snakemake

DEFAULT = yaml.safe_load((ROOT / "config/default.yaml").read_text())
for section in (DEFAULT, DEFAULT["continuous"]):
    section.update(ablations={}, figures={})  # plans of a few arms are made faster
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
NASTY = (
    "x; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "a b",
    "a'b",
    'a"b',
    "a\nb",
    "{wildcards.lmm}",
    "a\\b",
    "-x",
)


def with_value(key: str, value: Any) -> dict[str, Any]:
    """The default config with one value (`stage.field`) changed."""
    changed = copy.deepcopy(DEFAULT)
    *path, last = key.split(".")
    place = changed
    for name in path:
        place = place.setdefault(name, {})
        if place is None:
            raise AssertionError(f"{key} is null")
    place[last] = value
    return changed


def message(config: Any) -> str:
    """What it is refused with."""
    with pytest.raises(InputError) as caught:
        arms.plans(arms.typed(config))
    text = str(caught.value)
    assert text.startswith("config: ")
    assert "\n" not in text
    assert len(text) < 600, text
    return text


WRONG: list[tuple[str, Any]] = [
    *[("lmms", value) for value in ([], ["llama"], ["discrete"] * 2, "discrete", None, {}, [["discrete"]], 7)],
    *[("seeds", value) for value in ([], [0, 0], ["a"], [-1], [1.5], [True], 0, None, {0: 1}, [None])],
    *[("shards", value) for value in (0, -1, 1.5, "two", None, [1], True)],
    *[("iterations", value) for value in (0, -3, "many", None, 2.5)],
    *[("main", value) for value in ("nothing", None, 3, ["silmm"], "../x")],
    *[("arms", value) for value in ([], "silmm", {}, {"silmm": 3}, {"silmm": []}, {"silmm": {"train": False}})],
    *[(f"arms.{name}", {}) for name in ("base", "a/b", "../x", "A", "é", "", " ", "a b", "a;b", "1a", "-x", "a\nb")],
    ("arms.a", {"train": "maybe"}),
    ("arms.a", {"nothing": {}}),
    ("arms.a", {"align": {"nothing": 1}}),
    ("arms.a", {"train": False, "align": {"beta": 0.1}}),
    *[("prompts.n", value) for value in (0, -5, 2.5, "many", None, [8], True, {"a": 1}, 10**400)],
    *[("images.rate", value) for value in (2, -0.1, float("nan"), float("inf"), "half", None, [])],
    *[("images.n", value) for value in (1, 0, -1)],
    *[("align.loss", value) for value in ("ppo", "", None, 3, "DPO", "dpo\n")],
    *[("align.lr", value) for value in (-1e-4, 0, 0.0, float("inf"), "fast")],
    *[("align.beta", value) for value in (0, 0.0, -0.0, -0.2, float("nan"), float("inf"))],
    *[("pretrain.lr", value) for value in (0.0, -1.0)],
    *[("images.top_p", value) for value in (0.0, -0.5, 1.1)],
    *[("evaluate.samplers", value) for value in ([], "t1.0", [1.0], {}, None)],
    *[("pairs.product", value) for value in ("maybe", 1, 0.0, None)],
    *[("prompts", value) for value in ([], "n", 3)],
    *[("figures.f", value) for value in ([], "silmm", ["nothing"], ["silmm@0"], ["silmm@x"], [3], {"a": 1})],
    *[("figures", value) for value in ({"x; touch pwned": ["silmm"]}, {"../x": ["silmm"]}, {"": ["silmm"]})],
    *[("nothing", 1), ("prompts.nothing", 1), ("Lmms", []), ("é", 1), ("x" * 10_000, 1)],
    *[("pathvars", value) for value in ({"x": "y"}, [], "results")],
    *[("pathvars.results", value) for value in (*NASTY, "", None, 3, "<results>", "a*b", "~", "a&b", "a|b", "#a")],
    *[("avoid", value) for value in ("benchmarks", [""], [3], {}, {"a": "b"}, [None], False)],
    ("shipped", {"janus": {0: "x"}}),
    ("shipped", {"discrete": {"a": "x"}}),
    ("shipped", {"discrete": {0: 7}}),
    ("shipped", ["x"]),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key[:30]!a}-{i}" for i, (key, _) in enumerate(WRONG)])
def test_an_impossible_value_is_named(key: str, value: Any) -> None:
    assert key.split(".")[0][:30] in message(with_value(key, value))


@pytest.mark.parametrize("key", ["pathvars.results", "figures"])
def test_the_schema_refuses_what_a_shell_would_run(key: str) -> None:
    for name in NASTY:
        value = name if key != "figures" else {name: ["silmm"]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**with_value(key, value), "shipped": None}, SCHEMA)


@pytest.mark.parametrize("value", NASTY)
def test_a_value_reaches_the_shell_as_one_word(value: str) -> None:
    """Settings are the config's only texts in a command, but for the results' folder."""
    config = {**copy.deepcopy(DEFAULT), "lmms": ["janus"], "janus": {"adopt": {"weights": value}}}
    config["janus"]["arms"] = dict.fromkeys([name for name in DEFAULT["arms"] if name == "best_of_n"])
    words = shlex.split(arms.plan(config, "janus").options("adopt"))
    assert words[words.index("--weights") + 1] == value


FILES = {
    "empty": (b"", "holds no keys"),
    "a_text": (b"prompts\n", "holds no keys"),
    "a_list": (b"- prompts\n", "holds no keys"),
    "a_tab": (b"prompts:\n\tn: 3\n", ":2: not YAML"),
    "twice": (b"prompts: {n: 3}\nimages: {n: 4}\nprompts: {n: 5}\n", ":3: not YAML (key 'prompts' is there twice)"),
    "twice_inside": (b"prompts:\n  n: 3\n  n: 4\n", ":3: not YAML (key 'n' is there twice)"),
    "twice_in_flow": (b"prompts: {n: 3, n: 4}\n", ":1: not YAML (key 'n' is there twice)"),
    "open": (b"prompts: {n: 3\n", "not YAML"),
    "two_documents": (b"a: 1\n---\nb: 2\n", ":2: not YAML"),
    "python": (b"a: !!python/object/apply:os.system ['touch pwned']\n", ":1: not YAML"),
    "alias": (b"a: *b\n", ":1: not YAML"),
    "key_of_a_list": (b"? [a]\n: b\n", ":1: not YAML"),
    "not_utf8": (b"a: \xff\xfe\n", "not YAML"),
    "control": (b"a: \x00\n", "not YAML"),
    "deep": (b"[" * 5000, "not YAML"),
    "png": (b"\x89PNG\r\n\x1a\n\x00\x00", "not YAML"),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_config_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        config_files.read(file)
    assert str(caught.value).startswith(str(file))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("pwned").exists()


def test_every_config_of_the_repository_can_be_read() -> None:
    files = sorted((ROOT / "config").rglob("*.yaml"))
    assert len(files) > 10
    for file in files:
        assert config_files.read(file) == yaml.safe_load(file.read_text())


def test_snakemake_refuses_a_key_that_is_there_twice(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("prompts: {n: 3}\nprompts: {n: 5}\n")
    done = run_snakemake(ROOT, tmp_path, "-n", "--configfile", str(tmp_path / "mine.yaml"), check=False)
    assert done.returncode == 1
    assert f"{tmp_path / 'mine.yaml'}:2: not YAML (key 'prompts' is there twice): mend this line" in done.stdout
    assert "Traceback" not in done.stdout
