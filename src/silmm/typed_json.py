"""JSON text to dataclasses, checked: one line says which field is wrong, and what it should be."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

from silmm.errors import RecordError

_WHOLE = 2**63  # whole numbers end before it, as in every other file
_NAMES = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "tuple": "a list"}


def parse(text: str, kind: type, extra: bool = False) -> Any:
    """An instance of the dataclass `kind`; with `extra`, keys beyond its fields are ignored, not refused.

    Fields may be str, int, float, bool, `X | None`, `tuple[X, ...]`, `dict[str, X]` and dataclasses. Raises
    RecordError.
    """
    return _typed(loads(text), kind, "", extra)


def loads(text: str) -> Any:
    """The value of a JSON text, whoever wrote it. Raises RecordError for what is no JSON, for an object that has a key
    twice (which one counts?), and for what Python gives up on."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecordError:
        raise
    except json.JSONDecodeError as error:
        raise RecordError(f"not JSON ({error.msg} at column {error.colno})") from error
    except RecursionError:
        raise RecordError("not JSON that can be read (brackets within brackets, too many)") from None
    except ValueError:
        raise RecordError("not JSON that can be read (a whole number of thousands of digits)") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise RecordError(f"key {short(next(key for key, n in times.items() if n > 1))} is there twice")
    return made


def one_of(choices: Iterable[str]) -> str:
    """The end of a message about a value outside `choices`."""
    return f"expected one of {', '.join(choices)}"


def short(value: Any) -> str:
    """A value for a message, cut to a readable length; on one line, whatever it holds."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: JSON can spell halves of surrogate pairs, which are no characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _typed(value: Any, hint: Any, name: str, extra: bool = False) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _typed(value, inner[0], name, extra)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(item, inner[0], f"{name}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {_typed(key, str, name): _typed(item, inner[1], f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _instance(value, typing.cast(type, hint), name + "." if name else "", extra)
    if hint is float and type(value) is int and abs(value) < _WHOLE:
        return float(value)
    if origin is None and type(value) is hint and _holds(value):
        return value
    where = f"field {short(name)}" if name else "the line"
    expected = _NAMES.get((origin or hint).__name__, "an object")
    raise RecordError(f"{where} is {short(value)}: expected {expected}")


def _holds(value: Any) -> bool:
    """Whether a value of the right type can be stored: finite, of 64 bits, text that UTF-8 can hold."""
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return -_WHOLE <= value < _WHOLE
    return type(value) is not str or is_text(value)


def _instance(value: dict[str, Any], kind: type, prefix: str, extra: bool) -> Any:
    hints = _hints(kind)
    if unknown := sorted(set(value) - set(hints)) if not extra else []:
        raise RecordError(f"field {short(prefix + unknown[0])} is unknown: {one_of(hints)}")
    if missing := [name for name in hints if name not in value]:
        raise RecordError(f"field '{prefix}{missing[0]}' is missing")
    return kind(**{name: _typed(value[name], hint, prefix + name) for name, hint in hints.items()})


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}
