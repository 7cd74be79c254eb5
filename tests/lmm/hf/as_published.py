"""A folder that transformers of today wrote, turned into one of early 2025, as the hub has it; its weights' names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from silmm.lmm.hf.folder import read_header, weight_files

BESIDE = {"README.md": "# A model card\n", ".gitattributes": "*.safetensors filter=lfs\n"}  # nothing reads them


def read(file: Path) -> dict[str, Any]:
    """A JSON file."""
    fields: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return fields


def write(file: Path, fields: dict[str, Any]) -> None:
    """Write a JSON file."""
    file.write_text(json.dumps(fields, indent=2, ensure_ascii=False), encoding="utf-8")


def turn_back(folder: Path, dtype: str) -> None:
    """Write files as transformers 4.48 to 4.51 did: the picture processor and the chat template in files of their own,
    the weights' type under its old name, rope's parameters in their old places."""
    processor = read(folder / "processor_config.json")
    images = processor.pop("image_processor")
    write(folder / "preprocessor_config.json", {**images, "processor_class": processor["processor_class"]})
    write(folder / "processor_config.json", processor)
    template = folder / "chat_template.jinja"
    write(folder / "chat_template.json", {"chat_template": template.read_text(encoding="utf-8")})
    template.unlink()
    config = read(folder / "config.json")
    config |= {"torch_dtype": config.pop("dtype", dtype), "transformers_version": "4.48.0.dev0"}
    text = config["text_config"]
    text |= {"rope_theta": text.pop("rope_parameters")["rope_theta"], "torch_dtype": dtype}
    text.pop("dtype", None)
    write(folder / "config.json", config)
    for name, content in BESIDE.items():
        (folder / name).write_text(content, encoding="utf-8")


def names(folder: Path) -> set[str]:
    """Of the weights, from the files' headers, with # for numbers."""
    return {re.sub(r"\.\d+(?=\.)", ".#", name) for file in weight_files(folder) for name in read_header(file)[0]}


def listed(file: Path) -> set[str]:
    """Names in a list."""
    return {line for line in file.read_text().splitlines() if line and not line.startswith("#")}
