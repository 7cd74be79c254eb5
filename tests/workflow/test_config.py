"""The schema and the reference of the config say what the settings dataclasses say."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from typing import Any

import jsonschema
import pytest
import yaml

from silmm.arms import KEYS, LMMS, plan
from silmm.settings import STAGES

from .conftest import ROOT

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())


def config(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    return loaded


def test_schema_and_readme_are_up_to_date() -> None:
    program = ROOT / "workflow/scripts/config_reference.py"
    done = subprocess.run([sys.executable, str(program), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_has_the_keys_of_the_settings() -> None:
    assert set(SCHEMA["properties"]) == set(KEYS)
    for stage, kind in STAGES.items():
        assert list(SCHEMA["$defs"][stage]["properties"]) == [field.name for field in dataclasses.fields(kind)]


def test_the_readme_has_every_key() -> None:
    text = (ROOT / "config/README.md").read_text()
    for key in (*KEYS, *(field.name for kind in STAGES.values() for field in dataclasses.fields(kind))):
        assert f"`{key}`" in text


def test_the_default_config_names_every_key() -> None:
    assert set(config("default")) - set(LMMS) == set(KEYS) - {"pathvars", *LMMS}


OTHERS = ["smoke", "smoke_pretrain", "study", "kc_dpo", "kc_dpo_ill"]
OTHERS += ["tiny/dreamllm", "tiny/emu3", "tiny/janus", "tiny/seed_llama"]
OTHERS += ["paper/dreamllm", "paper/emu3", "paper/janus_pro", "paper/seed_llama"]


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_configs_only_change_what_the_default_has(name: str) -> None:
    assert set(config(name)) <= set(KEYS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("prompts", {"n": 0}),
        ("prompts", {"m": 1}),
        ("align", {"lr": "fast"}),
        ("seeds", []),
        ("lmms", ["llama"]),
        ("arms", {"silmm": {}, "a": {"pretrain": {}}}),
        ("arms", {"silmm": {}, "a": {"pairs": {"scorer": "best"}}}),
        ("janus", {"pretrain": {}}),
        ("janus", {"evaluate": {"n": 1}}),
        ("discrete", {"adopt": {}}),
        ("shipped", {"janus": {0: "somewhere"}}),
        ("nothing", 1),
    ],
)
def test_schema_and_plan_refuse_the_same(key: str, value: Any) -> None:
    right = {**config("default"), "shipped": None}
    jsonschema.validate(right, SCHEMA)
    plan(right)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**right, key: value}, SCHEMA)
    with pytest.raises(ValueError, match=r"^config: "):
        plan({**right, key: value}, key if key in LMMS else LMMS[0])


@pytest.mark.parametrize("name", ["paper/dreamllm", "paper/emu3", "paper/janus_pro", "paper/seed_llama"])
def test_every_value_of_the_paper_s_settings_says_where_it_comes_from(name: str) -> None:
    lines = (ROOT / f"config/{name}.yaml").read_text().splitlines()
    values = [line for line in lines if re.match(r" +\w+: *\S|(seeds|shards|iterations):", line)]
    values = [line for line in values if not re.match(r" +(results|weights|chat|visual|diffusion):", line)]
    assert len(values) > 25
    assert [
        line for line in values if not re.search(r"# \[(paper|inferred|ours)\] \S|# \[paper\]$|# \[ours\]$", line)
    ] == []
