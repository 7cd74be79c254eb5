"""Write what describes the config from the settings dataclasses: the schema, and the tables of config/README.md.

python workflow/scripts/config_reference.py            write both files
python workflow/scripts/config_reference.py --check    exit 1 if one of them is not up to date
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import typing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from silmm.arms import ARM_STAGES, LMMS, NAME, RESULTS, SHAPEWORLD, of_lmm  # noqa: E402
from silmm.benchmark_config import Judged  # noqa: E402
from silmm.benchmarks.registry import BENCHMARKS  # noqa: E402
from silmm.settings import STAGES  # noqa: E402

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
README = ROOT / "config/README.md"
BEGIN, END = "<!-- settings: written by workflow/scripts/config_reference.py -->", "<!-- settings: end -->"
_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


def settings_schema(kind: type) -> dict[str, Any]:
    """The schema of a section of settings: one stage's, or one benchmark's."""
    hints = typing.get_type_hints(kind)
    keys: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        meta = field.metadata
        key: dict[str, Any] = {"description": meta.get("help", "")}
        if typing.get_origin(hints[field.name]) is tuple:
            key |= {"type": "array", "items": {"type": "string"}, "minItems": 1}
        elif names := meta.get("names"):
            folders = {name: {"type": "string", "minLength": 1} for name in names}
            key |= {"type": ["object", "null"], "additionalProperties": False, "properties": folders}
        else:
            key["type"] = _TYPES[hints[field.name]]
        named = {"minimum": "low", "exclusiveMinimum": "above", "maximum": "high", "enum": "choices"}
        limits = {name: meta.get(limit) for name, limit in named.items()}
        key |= {name: list(v) if name == "enum" else v for name, v in limits.items() if v is not None}
        keys[field.name] = key
    return {"type": ["object", "null"], "additionalProperties": False, "properties": keys}


def schema() -> dict[str, Any]:
    """The schema of the whole config."""
    whole = {"type": "integer", "minimum": 1}
    names = {"type": "array", "minItems": 1, "uniqueItems": True}
    arm = {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {"train": {"type": "boolean"}, **{s: {"$ref": f"#/$defs/{s}"} for s in ARM_STAGES}},
    }
    arms = {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$", "not": {"const": "base"}},
        "additionalProperties": arm,
    }
    folders = {"type": ["object", "null"], "additionalProperties": {"type": ["string", "null"]}}
    judged = settings_schema(Judged) | {"required": ["data"]}
    judged["properties"]["data"]["minLength"] = 1
    general = {
        "lmms": {**names, "items": {"enum": list(LMMS)}},
        "seeds": {**names, "items": {"type": "integer", "minimum": 0}},
        "shards": whole,
        "iterations": whole,
        "control_iterations": whole,
        "shipped": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": dict.fromkeys(SHAPEWORLD, folders),
        },
        "avoid": {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}},
        "benchmarks": {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {name: {"$ref": "#/$defs/benchmark"} for name in BENCHMARKS},
        },
        "pathvars": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"results": {"type": "string", "pattern": f"^{RESULTS}$"}},
        },
        "main": {"type": "string"},
        "arms": arms,
        "ablations": arms | {"type": ["object", "null"]},
        "figures": {
            "type": ["object", "null"],
            "propertyNames": {"pattern": f"^{NAME}$"},
            "additionalProperties": {"type": ["array", "null"], "minItems": 1, "items": {"type": "string"}},
        },
    }
    stages = {stage: {"$ref": f"#/$defs/{stage}"} for stage in STAGES}
    keys = {lmm: {name: (general | stages)[name] for name in of_lmm(lmm)} for lmm in LMMS}
    section = {"type": ["object", "null"], "additionalProperties": False}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Config of the silmm workflow; written by workflow/scripts/config_reference.py",
        "type": "object",
        "additionalProperties": False,
        "required": ["lmms", "seeds", "shards", "iterations", "control_iterations", "main", "arms"],
        "properties": {**general, **stages, **{lmm: section | {"properties": keys[lmm]} for lmm in LMMS}},
        "$defs": {**{stage: settings_schema(kind) for stage, kind in STAGES.items()}, "benchmark": judged},
    }


def tables() -> str:
    """The Markdown tables of all stages' settings, and of a benchmark's."""
    lines = []
    for stage, kind in {**STAGES, "benchmarks.<name>": Judged}.items():
        text = (kind.__doc__ or "").strip().splitlines()[0]
        lines += ["", f"### `{stage}`", "", text, ""]
        lines += ["| key | default | limits | meaning |", "| --- | --- | --- | --- |"]
        for field in dataclasses.fields(kind):
            default = {} if field.default is dataclasses.MISSING else field.default
            meaning = field.metadata.get("help", "")
            cells = (f"`{field.name}`", f"`{json.dumps(default)}`", _limits(field.metadata), meaning)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", ""])


def _limits(meta: Any) -> str:
    if meta.get("names"):
        return ", ".join(f"`{name}`" for name in meta["names"])
    if meta.get("choices"):
        return ", ".join(f"`{choice}`" for choice in meta["choices"])
    ends = [(">=", meta.get("low")), (">", meta.get("above")), ("<=", meta.get("high"))]
    return ", ".join(f"{sign} {value}" for sign, value in ends if value is not None)


def contents() -> dict[Path, str]:
    """The right text of both files."""
    import yaml

    text = yaml.safe_dump(schema(), sort_keys=False, width=110, default_flow_style=None)
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    return {SCHEMA: text, README: head + BEGIN + "\n" + tables() + END + rest.partition(END)[2]}


def main() -> int:
    """Write or check the files; 1 when `--check` finds one that is not up to date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 if a file is not up to date")
    check = parser.parse_args().check
    stale = [path for path, text in contents().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not up to date: run python workflow/scripts/config_reference.py")
        else:
            path.write_text(contents()[path], encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
