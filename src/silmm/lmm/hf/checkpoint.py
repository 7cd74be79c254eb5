"""silmm's checkpoints of LMMs whose weights are someone else's: a small folder with LoRA that names the weights.

`config.json` says where the weights are and what they must be (`silmm.lmm.hf.folder.fingerprint`), the two adapter
files are peft's own, `README.md` is the model card. The weights are never copied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from silmm.atomic import atomic_dir, check_dir
from silmm.errors import InputError
from silmm.lmm.hf import folder as folders
from silmm.lmm.hf import lora
from silmm.typed_json import loads

CONFIG = "config.json"
DTYPES = ("float32", "bfloat16")


Option = int | float | str


class Family(NamedTuple):
    """What a family of LMMs has to say for its checkpoints."""

    name: str
    title: str
    roles: tuple[str, ...]  # which weights it needs
    adapted: str  # the role that carries the LoRA
    model_class: str  # transformers' name, for the card
    licence: str  # of the weights, a sentence for the card
    regex: str  # whole names of the layers that LoRA adapts
    check: Callable[[Mapping[str, Path]], object]  # raises InputError where the weights or the tokenizer will not do
    skeleton: Callable[[Mapping[str, Path]], Any]  # the adapted transformers model on the meta device
    options: Mapping[str, Option] = MappingProxyType({})  # what only this family lets one choose, and its own choice
    # How its pictures are drawn where no option says otherwise: settings of step 2 by name, from a published source.
    sampling: Mapping[str, Option] = MappingProxyType({})
    # Raises InputError for options that these weights do not allow.
    check_options: Callable[[Mapping[str, Path], Mapping[str, Option]], Any] = lambda *_: None
    # Of a role's folder, where it is more, or less, than a folder of transformers' own.
    fingerprint: Callable[[str, Path], str] = lambda role, path: folders.fingerprint(path)
    # What has to be done before transformers reads the folder of the adapted role, where that is not in its layout.
    converted: Callable[[Path], str] = lambda path: ""


class Settings(NamedTuple):
    """What config.json says."""

    family: str
    weights: dict[str, Path]  # by role; relative paths are from the working folder, as everywhere in silmm
    fingerprint: dict[str, str]  # of these weights
    rank: int
    alpha: int
    dtype: str
    rows: int  # sequences a forward pass: what memory allows, results do not depend on it
    options: dict[str, Option]  # the family's own


def family_of(name: str) -> Family:
    """The family of this name. Raises InputError where there is none."""
    if name == "janus":
        from silmm.lmm.janus.checkpoint import FAMILY

        return FAMILY
    if name == "emu3":
        from silmm.lmm.emu3.checkpoint import FAMILY as EMU3

        return EMU3
    if name == "seed_llama":
        from silmm.lmm.seed_llama.checkpoint import FAMILY as SEED_LLAMA

        return SEED_LLAMA
    if name == "dreamllm":
        from silmm.lmm.dreamllm.checkpoint import FAMILY as DREAMLLM

        return DREAMLLM
    raise InputError(f"family is {name!r}: expected dreamllm, emu3, janus or seed_llama")


def adopt(
    family: str, weights: Mapping[str, Path], out: Path, *, rank: int, alpha: int, dtype: str, rows: int, seed: int,
    options: Mapping[str, Option] = MappingProxyType({}),
) -> None:  # fmt: skip
    """Write a checkpoint of an LMM as its publishers left it: LoRA that changes nothing, drawn from the seed.

    Raises InputError where the weights will not do, a setting is wrong, or `out` holds something else.
    """
    known = family_of(family)
    _same("weights", set(weights), set(known.roles))
    check_dir(out, "silmm adopt")
    weights = {role: Path(weights[role]) for role in known.roles}
    known.check(weights)
    chosen = _options(known, options, f"adopting {family}")
    known.check_options(weights, chosen)
    marks = {role: known.fingerprint(role, path) for role, path in weights.items()}
    settings = Settings(family, dict(weights), marks, rank, alpha, dtype, rows, chosen)
    _validate(settings, f"adopting {family}")
    bare = lora.attach(known.skeleton(weights), regex=known.regex, rank=rank, alpha=alpha, seed=None)
    tensors = lora.initial({name: tuple(t.shape) for name, t in lora.weights(bare).items()}, seed)
    with atomic_dir(out, "silmm adopt") as folder:
        lora.write(tensors, bare.peft_config["default"], folder, base=str(weights[known.adapted]))
        write(settings, folder)


def write(settings: Settings, folder: Path) -> None:
    """Write config.json and the model card into a folder that the adapter's files are in."""
    fields = {
        "silmm_family": settings.family,
        "weights": {role: str(path) for role, path in settings.weights.items()},
        "fingerprint": settings.fingerprint,
        "lora": {"rank": settings.rank, "alpha": settings.alpha},
        "dtype": settings.dtype,
        "rows": settings.rows,
        "options": settings.options,
    }
    (folder / CONFIG).write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(settings), encoding="utf-8")


def read(folder: Path) -> Settings:
    """Read config.json and see that the weights are there, and still the same.

    Raises InputError where a field is missing or wrong, the weights are not whole, or they are others.
    """
    file = folder / CONFIG
    try:
        fields = loads(file.read_text(encoding="utf-8"))
        settings = Settings(
            fields["silmm_family"],
            {role: Path(path) for role, path in fields["weights"].items()},
            dict(fields["fingerprint"]),
            fields["lora"]["rank"],
            fields["lora"]["alpha"],
            fields["dtype"],
            fields["rows"],
            dict(fields["options"]),
        )
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: {folder} is not a checkpoint folder") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file}: not the config of an adopted LMM ({error!r}): adopt the weights again") from None
    _validate(settings, str(file))
    known = family_of(settings.family)
    settings = settings._replace(options=_options(known, settings.options, str(file)))
    _same(f"{file}: weights", set(settings.weights), set(known.roles))
    for role, path in settings.weights.items():
        if not path.is_dir():
            raise InputError(
                f"{file}: weights.{role} is {path}: no such folder here: work where it is, or put its path there"
            )
        found = known.fingerprint(role, path)
        if found != settings.fingerprint.get(role):
            raise InputError(
                f"{path}: other weights than {file} was made with (fingerprint {found}, expected"
                f" {settings.fingerprint.get(role)}): give those, or adopt these anew"
            )
    lora.check_rank(folder, settings.rank)
    return settings


def _validate(settings: Settings, where: str) -> None:
    """InputError naming the first field with a wrong value."""
    for name in ("rank", "alpha", "rows"):
        value = getattr(settings, name)
        if type(value) is not int or value < 1:
            raise InputError(f"{where}: {name} is {value!r}: expected a whole number of at least 1")
    if settings.dtype not in DTYPES:
        raise InputError(f"{where}: dtype is {settings.dtype!r}: expected {' or '.join(DTYPES)}")


def _options(family: Family, given: Mapping[str, Option], where: str) -> dict[str, Option]:
    """The family's options with those given. Raises InputError for one that it has not, or of another type."""
    for name, value in given.items():
        if name not in family.options:
            raise InputError(f"{where}: {name} is {value!r}: {family.title} has no such choice: leave it out")
        kind = type(family.options[name])
        if type(value) is not kind or (not isinstance(value, str) and value < 0):
            raise InputError(f"{where}: {name} is {value!r}: expected {kind.__name__}, not below zero")
    return dict(family.options) | dict(given)


def _same(what: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        given, wanted = (", ".join(sorted(names)) or "none" for names in (found, expected))
        raise InputError(f"{what}: roles are {given}: expected {wanted}")


def _as_code(text: str) -> str:
    """A folder's name in Markdown: on one line, and never more than code, whatever it is called."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"`{line}`"


def _card(settings: Settings) -> str:
    """README.md: what it is, what it stands on, how to use it without silmm."""
    family = family_of(settings.family)
    listed = "\n".join(f"- {role}: {_as_code(str(settings.weights[role]))}" for role in family.roles)
    base = settings.weights[family.adapted]
    converted = family.converted(base) if base.is_dir() else ""
    note = (
        f"These weights are in their publisher's own layout, which transformers does not read: {converted}. The names"
        " in this adapter are transformers' own.\n\n"
        if converted
        else ""
    )
    base = Path("CONVERTED") if converted else base
    return f"""---
library_name: peft
tags: [silmm, lora, text-to-image]
---
# {family.title}, adapted by silmm

A LoRA adapter (rank {settings.rank}, alpha {settings.alpha}) on the language model's attention and MLP projections,
made by silmm, a laboratory for self-improving large multimodal models (SILMM, arXiv 2412.05818).

It stands on these weights, which are not part of this folder:

{listed}

{family.licence} What this adapter is used for falls under that licence, too.

`silmm draw PROMPT --ckpt .` draws with it, `silmm ask IMAGE QUESTION --ckpt .` asks it. Without silmm:

{note}```python
from peft import PeftModel
from transformers import {family.model_class}

base = {family.model_class}.from_pretrained({str(base)!a})
model = PeftModel.from_pretrained(base, ".")
```
"""
