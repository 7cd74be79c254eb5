"""Files as they might come: a valid one with its bytes or its values changed, by hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

TOKENS = [
    b"null",
    b"NaN",
    b"-1",
    b"1e999",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\\ud800",
    b"\xff",
    b"\x00",
]
TOKENS += [b"../../x", b"9" * 30, b"true", b"\xef\xbb\xbf", b"PAR1", b"PK\x03\x04", b"&a", b"*a", b"!!x", b"\t", b"- "]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "../../x", ".", "\ud800", "a\nb", "x" * 300, "yes", "float32", "1e3"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def changed_bytes(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """One of the seeds with up to six cuts, flips, repeats, tokens put in, and pieces of other seeds."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from([1, 2, 4, 16, 100, 10_000]))
        kind = draw(st.sampled_from(["flip", "cut", "end", "token", "repeat", "splice", "noise"]))
        if kind == "flip" and place < len(content):
            content[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del content[place : place + length]
        elif kind == "end":
            del content[place:]
        elif kind == "token":
            content[place:place] = draw(st.sampled_from(TOKENS))
        elif kind == "repeat":
            content[place:place] = content[place : place + length]
        elif kind == "splice":
            other = draw(st.sampled_from(seeds))
            start = draw(st.integers(0, len(other)))
            content[place : place + length] = other[start : start + length]
        elif kind == "noise":
            content[place : place + length] = draw(st.binary(max_size=16))
    return bytes(content)


@st.composite
def changed_value(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with up to three of its values, keys or items changed, lost or added."""
    made = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(0, 3))):
        made = _changed(draw, made)
    return made


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        kind = draw(st.sampled_from(["inside", "lose", "add", "rename"]))
        if kind == "inside":
            return value | {key: _changed(draw, value[key])}
        if kind == "add":
            return value | {draw(st.text(max_size=10)): draw(VALUES)}
        rest = {name: item for name, item in value.items() if name != key}
        return rest | ({draw(st.text(max_size=10)): value[key]} if kind == "rename" else {})
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        kind = draw(st.sampled_from(["inside", "lose", "twice"]))
        if kind == "inside":
            return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
        return value[:place] + value[place + 1 :] if kind == "lose" else [*value, value[place]]
    return draw(VALUES)


def json_lines(rows: list[Any]) -> st.SearchStrategy[bytes]:
    """A JSON lines file: its values changed, or its bytes."""
    whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
    lines = st.lists(st.one_of(*(changed_value(row) for row in rows)), min_size=1, max_size=3)
    return st.one_of(lines.map(_encoded), changed_bytes([whole]))


def json_file(value: Any) -> st.SearchStrategy[bytes]:
    """A JSON file: its values changed, or its bytes."""
    return st.one_of(
        changed_value(value).map(lambda made: _encoded([made])),
        changed_bytes([json.dumps(value, indent=1).encode() + b"\n"]),
    )


def _encoded(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
