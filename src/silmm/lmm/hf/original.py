"""Weights in their publishers' own layout, read under transformers' names: nothing is converted on the disk.

A layout is a list of rules between two spellings of a weight's name. Read forwards they rename what a file holds, read
backwards they name what is missing as its publisher would. Two things happen to the numbers besides: one weight may be
several of transformers', row after row (q, k and v), and dimensions of size one may be left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from silmm.errors import InputError
from silmm.lmm.hf import folder as folders
from silmm.whole_weights import Shapes, listed

if TYPE_CHECKING:
    from torch import Tensor

BUFFERS = ("rotary_emb.inv_freq", "position_ids")  # older files hold them; they are counted again, not learned


class Rule(NamedTuple):
    """Two beginnings of the same weights' names, in which # stands for a number; without a dot at the end they are
    whole names."""

    own: str  # the publisher's
    ours: tuple[str, ...]  # transformers'; of several, each has an equal share of the rows
    squeeze: bool = False  # dimensions of size one are left out


class Layout(NamedTuple):
    """How a publisher's folder says what transformers' model has."""

    family: str
    model_type: str  # in the folder's config.json
    rules: tuple[Rule, ...]  # the first that matches counts


class Source(NamedTuple):
    """A folder of weights in such a layout."""

    folder: Path
    layout: Layout


class Found(NamedTuple):
    """What the sources of one model hold, by the headers of their files."""

    shapes: dict[str, tuple[int, ...]]  # by transformers' names
    own: dict[str, tuple[Source, str, tuple[int, ...]]]  # of each: where it stands, its name and its shape there
    unread: dict[Path, list[str]]  # the publishers' names of what has no place in the model, by folder
    files: list[Path]


def is_of(folder: Path, layout: Layout) -> bool:
    """Whether a folder is in this layout. Raises InputError where it has no config.json that can be read."""
    return folders.read_config(folder, layout.family).get("model_type") == layout.model_type


def read(sources: Sequence[Source]) -> Found:
    """Read the files' headers. Raises InputError as `silmm.lmm.hf.folder.check` does."""
    found = Found({}, {}, {}, [])
    for source in sources:
        layout = source.layout
        held = folders.check(source.folder, family=layout.family, model_type=layout.model_type, pickled=True)
        found.files.extend(held.files)
        for name, (_, shape) in held.tensors.items():
            places = _places(layout, name)
            if not places:
                found.unread.setdefault(source.folder, []).append(name)
            for place in places:
                found.own[place] = (source, name, shape)
                found.shapes[place] = _shape(layout, name, shape)
    return found


def check(sources: Sequence[Source], shapes: Callable[[], Shapes]) -> Found:
    """Read the headers and compare them with the shapes of a model's weights, which are asked for after that.

    Raises InputError that names the first three weights that are missing, unexpected or misshapen, as their publisher
    names them. What has no place in any model of the layout passes (`Found.unread`).
    """
    found, wanted = read(sources), shapes()
    problems: dict[str, None] = {}  # each once: q, k and v may be one weight there
    for name, shape in wanted.items():
        if name not in found.shapes:
            source, own = _publisher(sources, name)
            problems[f"{source.folder}: {own} is missing"] = None
        elif tuple(found.shapes[name]) != tuple(shape):
            source, own, given = found.own[name]
            parts = len(_places(source.layout, own))
            right = [shape[0] * parts, *shape[1:]] if parts > 1 else list(shape)
            problems[f"{source.folder}: {own} is {list(given)}, not {right}"] = None
    for name, (source, own, _) in found.own.items():
        if name not in wanted:
            problems[f"{source.folder}: {own} is unexpected"] = None
    if problems:
        raise InputError(
            f"{listed(list(problems))}: config.json beside it says another model: download the folder again"
        )
    return found


def shapes_of_model(folder: Path, skeleton: Callable[[Path], Any]) -> Shapes:
    """Shapes of the model that a folder's config.json makes, by names. Raises InputError where it makes none."""
    try:
        return {name: tuple(weight.shape) for name, weight in skeleton(folder).state_dict().items()}
    except InputError:
        raise
    except Exception as error:  # whatever torch and transformers say of sizes that cannot be
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder / 'config.json'}: no model can be made of it ({reason}): download it again"
        ) from error


def fingerprint(sources: Sequence[Source]) -> str:
    """As `silmm.lmm.hf.folder.fingerprint`, of all sources."""
    marks = [
        folders.fingerprint_of(source.folder, folders.TEXTS, folders.weight_files(source.folder, pickled=True))
        for source in sources
    ]
    return marks[0] if len(marks) == 1 else hashlib.blake2b(" ".join(marks).encode(), digest_size=16).hexdigest()


def told(found: Found) -> Iterator[str]:
    """A line for each folder with weights that nothing reads: how many, and a few names."""
    for folder, names in found.unread.items():
        kinds = list(dict.fromkeys(re.sub(r"\d+", "#", name) for name in names))
        yield f"{folder}: {len(names)} weights that nothing reads, as {', '.join(kinds[:4])}: left alone"


# ---- filling a model -------------------------------------------------------------------------------------------------


def empty(model_class: Any, config: Any, dtype: str) -> Any:
    """A transformers model of a config, on the CPU, whose weights are not set yet and take no memory until they are."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        return model_class._from_config(config, dtype=dtype, attn_implementation="sdpa")


def fill(model: Any, sources: Sequence[Source]) -> None:
    """Fill a model, in its own dtypes, with weights that `check` has found whole: one tensor in memory at a time."""
    import torch

    state = model.state_dict()
    with torch.no_grad():
        for source in sources:
            for file in folders.weight_files(source.folder, pickled=True):
                with _opened(file) as (names, tensor_of):
                    for name in names:
                        places = _places(source.layout, name)
                        if not places:
                            continue
                        tensor = tensor_of(name)
                        parts = tensor.chunk(len(places)) if len(places) > 1 else (tensor,)
                        for place, part in zip(places, parts, strict=True):
                            state[place].copy_(part.reshape(state[place].shape))


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Sequence[str], Callable[[str], Tensor]]]:
    """The names in a file, and what gives the tensor of one of them."""
    if file.suffix == ".bin":
        from silmm.lmm.hf.pickled import read_state

        tensors: Mapping[str, Tensor] = read_state(file)
        yield list(tensors), tensors.__getitem__
    else:
        from safetensors import safe_open

        with safe_open(file, "pt") as opened:
            yield list(opened.keys()), opened.get_tensor


# ---- names -----------------------------------------------------------------------------------------------------------


@cache
def _pattern(beginning: str) -> re.Pattern[str]:
    return re.compile(re.escape(beginning).replace(r"\#", r"(\d+)") + ("" if beginning.endswith(".") else "$"))


def _renamed(name: str, match: re.Match[str], beginning: str) -> str:
    numbers = iter(match.groups())
    return re.sub("#", lambda _: next(numbers), beginning) + name[match.end() :]


def _rule(layout: Layout, name: str) -> tuple[Rule, re.Match[str]] | None:
    if name.endswith(BUFFERS):
        return None
    for rule in layout.rules:
        if match := _pattern(rule.own).match(name):
            return rule, match
    return None


def _places(layout: Layout, name: str) -> list[str]:
    """transformers' names of a publisher's weight, in the order of its rows; none where nothing reads it."""
    found = _rule(layout, name)
    return [_renamed(name, found[1], beginning) for beginning in found[0].ours] if found else []


def _shape(layout: Layout, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of each of the places of a publisher's weight; that of the whole where its rows cannot be shared."""
    found = _rule(layout, name)
    assert found is not None
    rule = found[0]
    parts = len(rule.ours)
    if parts > 1 and shape and shape[0] % parts == 0:
        return (shape[0] // parts, *shape[1:])
    return tuple(size for size in shape if size != 1) if rule.squeeze else shape


def _publisher(sources: Sequence[Source], name: str) -> tuple[Source, str]:
    """Which source should hold a weight of transformers', and under which name."""
    for source in sources:
        for rule in source.layout.rules:
            for beginning in rule.ours:
                if match := _pattern(beginning).match(name):
                    return source, _renamed(name, match, rule.own)
    return sources[0], name
