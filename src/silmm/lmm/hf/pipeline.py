"""diffusers' pipelines: a folder with one for each part; every part is loaded whole, or refused by name.

diffusers alone warns of weights that are missing, and leaves them random.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.errors import InputError
from silmm.lmm.hf.folder import fingerprint_of, read_header
from silmm.model_sizes import check_counts, on_meta
from silmm.typed_json import loads, short
from silmm.whole_weights import refuse_unfit

if TYPE_CHECKING:
    import torch

Parts = Mapping[str, tuple[str, str]]  # parts with weights: module and class of each
WEIGHTS = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}  # names of a part's files, by library
LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")  # the last one is a module of diffusers' own
INDEX = "model_index.json"  # names the pipeline
TEXTS = ("*.json", "[!.]*/*.json", "[!.]*/merges.txt")  # all but weights that decides what is painted
COUNTED = ("position_ids",)  # buffers that old files hold: counted, not learned


def check(folder: Path, *, family: str, pipeline: str, parts: Parts) -> dict[str, dict[str, Any]]:
    """config.json of each part with weights, by its name. Reads no weights.

    Raises InputError where this is no folder of that pipeline, or a part's file is missing or not whole.
    """
    configs = read_configs(folder, family=family, pipeline=pipeline, parts=parts)
    for file in weight_files(folder, parts):
        read_header(file)
    return configs


def read_configs(folder: Path, *, family: str, pipeline: str, parts: Parts) -> dict[str, dict[str, Any]]:
    """config.json of each part with weights, which need not be there. Raises InputError where this is no folder of that
    pipeline, or one of them is missing."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: expected the downloaded diffusion pipeline of {family}")
    named = _read_json(folder / INDEX)
    found = named.get("_class_name")
    if found != pipeline:
        raise InputError(f"{folder / INDEX}: _class_name is {short(found)}, but {family} needs {pipeline}")
    for part, made in named.items():  # diffusers imports what stands here
        if isinstance(made, list) and (made[:1] or [None])[0] not in LIBRARIES:
            raise InputError(f"{folder / INDEX}: {short(part)} is of {short(made)}: take the published pipeline")
    for file in sorted(folder.glob("[!.]*/scheduler_config.json")):
        check_counts(file, _read_json(file), None)
    return {part: _read_json(folder / part / "config.json") for part in parts}


def empty(folder: Path, configs: Mapping[str, Mapping[str, Any]], parts: Parts) -> dict[str, torch.nn.Module]:
    """The parts with weights as their configs say, on torch's meta device. Raises InputError where a config will not
    do."""
    made = {}
    for part, (module, name) in parts.items():
        kind: Any = getattr(importlib.import_module(module), name)
        file = folder / part / "config.json"
        check_counts(file, configs[part], None)
        try:
            with on_meta(file, None):
                if _library(module) == "diffusers":
                    made[part] = kind.from_config(dict(configs[part]))
                else:
                    made[part] = kind(kind.config_class(**configs[part]))
        except InputError:
            raise
        except Exception as error:  # of many kinds: each class has its own fields
            reason = " ".join(str(error).split())
            raise InputError(f"{file}: not a config of {name} ({reason})") from error
    return made


def weight_files(folder: Path, parts: Parts) -> list[Path]:
    """The safetensors files of all parts. Raises InputError where one is missing."""
    return [file for part, (module, _) in parts.items() for file in _files(folder / part, WEIGHTS[_library(module)])]


def load(
    folder: Path, *, pipeline: str, parts: Parts, dtype: str, exact: Sequence[str] = (), without: Sequence[str] = ()
) -> Any:
    """The pipeline on the CPU, in eval mode and without gradients. `exact`: parts that stay in float32; `without`:
    parts that are not loaded, because nothing runs them.

    Raises InputError where weights are missing, unexpected or misshapen.
    """
    import diffusers

    loaded = {
        part: _load_part(folder / part, module, name, "float32" if part in exact else dtype)
        for part, (module, name) in parts.items()
    }
    none = dict.fromkeys(without)
    try:
        made = getattr(diffusers, pipeline).from_pretrained(folder, local_files_only=True, **loaded, **none)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{folder}: not a whole {pipeline} ({reason}): download it again") from error
    made.set_progress_bar_config(disable=True)
    return made


def fingerprint(folder: Path) -> str:
    """As `silmm.lmm.hf.folder.fingerprint`, of every part: configs, tokenizer, weights, the scheduler's settings."""
    texts = [path.relative_to(folder) for pattern in TEXTS for path in sorted(folder.glob(pattern))]
    return fingerprint_of(folder, [text.as_posix() for text in texts], sorted(folder.glob("[!.]*/*.safetensors")))


def _load_part(folder: Path, module: str, name: str, dtype: str) -> torch.nn.Module:
    import torch

    kind = {"diffusers": "torch_dtype", "transformers": "dtype"}[_library(module)]
    made = getattr(importlib.import_module(module), name)
    _check_config(folder, _library(module), made)
    model, found = made.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True,
        **{kind: getattr(torch, dtype)},
    )  # fmt: skip
    refuse_unfit(folder, found, name, ignored=COUNTED)
    return model.requires_grad_(False).eval()


def _check_config(folder: Path, library: str, kind: Any) -> None:
    """InputError where config.json is that of a larger model than the files hold, or of none."""
    file = folder / "config.json"
    headers = [read_header(weights)[0] for weights in _files(folder, WEIGHTS[library])]
    held = {name: tuple(entry["shape"]) for header in headers for name, entry in header.items()}
    fields = _read_json(file)
    check_counts(file, fields, held)
    try:
        with on_meta(file, held):
            if library == "diffusers":
                kind.from_config(fields)
            else:
                kind(kind.config_class.from_pretrained(folder, local_files_only=True))
    except InputError:
        raise
    except Exception as error:  # of many kinds: both libraries validate fields, and hand them to each block
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{file}: not a config of {kind.__name__} ({reason}): download it again") from error


def _library(module: str) -> str:
    return module.partition(".")[0]


def _files(folder: Path, stem: str) -> list[Path]:
    """A part's safetensors files. Raises InputError where one is missing."""
    index = folder / f"{stem}.safetensors.index.json"
    named = _read_json(index).get("weight_map", {}).values() if index.is_file() else [f"{stem}.safetensors"]
    for file in (files := sorted({folder / name for name in named})):
        if not file.is_file():
            unfinished = any(folder.rglob("*.incomplete"))
            what = "a download has not finished (.incomplete): finish it" if unfinished else "download it"
            raise InputError(f"{file}: no such file (pickled weights will not do): {what}")
    return files


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: {file.parent} is no folder that diffusers wrote") from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error}): download it again") from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: not a JSON object: download it again")
    return found
