"""The official names of the pictures: `<5-digit number>/samples/<number>.png`, four of each prompt, with the prompt's
line of the official file beside them in `<5-digit number>/metadata.jsonl`."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from silmm.benchmarks.interface import Item, Layout, Ref
from silmm.benchmarks.pictures import PictureFiles
from silmm.benchmarks.scores import listed
from silmm.errors import InputError, RecordError
from silmm.typed_json import loads, short

_PICTURE = re.compile(r"(\d{1,9})/samples/(\d{1,9})\.png", re.ASCII)
_METADATA = re.compile(r"(\d{1,9})/metadata\.jsonl", re.ASCII)


def names(items: Sequence[Item]) -> list[list[Ref]]:
    """Where pictures that are drawn here are put."""
    return [[Ref(f"{item.id}/samples/{k:04d}.png") for k in range(len(item.seeds))] for item in items]


def extras(items: Sequence[Item]) -> Mapping[str, str]:
    """By which the published evaluator knows what must be in the pictures of a folder."""
    return {f"{item.id}/metadata.jsonl": json.dumps(item.facts.raw) + "\n" for item in items}


def locate(files: PictureFiles, items: Sequence[Item]) -> list[list[Ref]]:
    """The four pictures of each prompt, in the order of their numbers. Other files are let be, as in the published
    code. A `metadata.jsonl` need not be there, for the folder's number says which prompt it is; it must not say
    another one, and may say more than the official line.

    Raises InputError that lists prompts with fewer or more pictures, numbers that are there twice, and how a folder's
    metadata.jsonl differs from the official line.
    """
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    told: dict[int, list[str]] = defaultdict(list)
    doubled = set(files.doubled)
    for name in sorted(files.holder):
        if match := _PICTURE.fullmatch(name):
            found[int(match[1])] += [(int(match[2]), name)] * (1 + (name in doubled))
        elif match := _METADATA.fullmatch(name):
            told[int(match[1])].append(name)
    refs, amiss = [], []
    for item in items:
        own = sorted(found[int(item.id)])
        if len(own) != len(item.seeds):
            amiss.append(f"{item.id} has {len(own)}")
        elif len({number for number, _ in own}) < len(own):
            amiss.append(f"{item.id} has a number twice")
        refs.append([Ref(name) for _, name in own])
    named = [(name, item) for item in items for name in told[int(item.id)]]
    strange = {name: what for name, item in named if (what := _difference(files, name, item))}
    problems = [f"{len(amiss)} of {len(items)} prompts without exactly {len(items[0].seeds)} pictures"
                f" ({listed(amiss)}): expected <number>/samples/<number>.png"] if amiss else []  # fmt: skip
    problems += [f"{len(strange)} files are of another prompt than the official one with this number"
                 f" ({listed(list(strange))}): the first: {next(iter(strange.values()))}; number the folders by the"
                 " official file, or, where prompts were rewritten, take these files away and give --note"
                 " rewriting=..: pictures are judged by the official prompts"] if strange else []  # fmt: skip
    if problems:
        raise InputError(f"{files.where}: {'; '.join(problems)}")
    return refs


def _difference(files: PictureFiles, name: str, item: Item) -> str:
    """What a metadata.jsonl says otherwise than the official line of the item; nothing where they agree."""
    try:
        found = loads(files.read(name).decode())
    except (RecordError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        return "not a line of the official file"
    for key, official in item.facts.raw.items():
        if key not in found:
            return f"no {short(key)}"
        if found[key] != official:
            return f"{key} is {short(found[key])}, officially {short(official)}"
    return ""


LAYOUT = Layout(locate, names, extras)
