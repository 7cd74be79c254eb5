"""Vocabularies as tiktoken keeps them, for the tokenizers library: the same ids of every text.

Each line of a file has a token's bytes in base64 and its rank. tiktoken joins whichever neighbours make the token of
the lowest rank. BPE by merges does the same where each token has one merge, of the two tokens that its own bytes are
joined from, and the merges are in the order of ranks.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path

from silmm.errors import InputError

LONGEST = 512  # letters of base64; published ones have 172, and longer ones take long to cut
Merges = list[tuple[str, str]]


def read(file: Path) -> tuple[dict[str, int], Merges]:
    """Ids by tokens, and merges in their order, both in the letters that byte-level BPE writes bytes with.

    Raises InputError where a line is none of such a file, ranks are not 0, 1, 2, .., or no two tokens make one of
    several bytes.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: no such file: download it") from None
    try:
        return _merges(content)
    except ValueError as error:
        raise InputError(f"{file}: {error}: download the file again") from None


def count(file: Path) -> int:
    """How many tokens a file has. Raises FileNotFoundError where there is none."""
    return len(file.read_bytes().splitlines())


@lru_cache(maxsize=1)  # the same for all sets of weights of a family, and asked for again and again
def _merges(content: bytes) -> tuple[dict[str, int], Merges]:
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(content.splitlines()):
        try:
            letters64, written = line.split()
            ranks[base64.b64decode(letters64, validate=True)] = int(written)
        except ValueError:
            raise ValueError(f"line {number + 1} is not a token in base64 and its rank") from None
        if len(letters64) > LONGEST:
            raise ValueError(f"line {number + 1} has a token of {len(letters64)} letters: expected {LONGEST} at most")
        if int(written) != number or len(ranks) != number + 1:
            raise ValueError(f"line {number + 1}: expected a token that no line before has, and rank {number}")
    spelling = letters()

    def spell(token: bytes) -> str:
        return "".join(map(spelling.__getitem__, token))

    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            cuts = [
                i for i in range(1, len(token)) if max(ranks.get(token[:i], rank), ranks.get(token[i:], rank)) < rank
            ]
            if len(cuts) != 1:  # else only one pair can be the last
                cuts = _last_cut(ranks, token, rank)
            merges.append((spell(token[: cuts[0]]), spell(token[cuts[0] :])))
    return {spell(token): rank for token, rank in ranks.items()}, merges


def _last_cut(ranks: dict[bytes, int], token: bytes, rank: int) -> list[int]:
    """Where the two parts meet that a token's bytes are joined to before they are one."""
    ends = list(range(len(token) + 1))  # between the parts

    def joined(i: int) -> int:  # the rank of parts i and i + 1 together
        return ranks.get(token[ends[i] : ends[i + 2]], rank) if 0 <= i < len(ends) - 2 else rank

    found = [joined(i) for i in range(len(token) - 1)]
    while len(found) > 1:
        lowest = min(found)
        if lowest >= rank:
            raise ValueError(f"{token!r} (rank {rank}) is joined from no two tokens of lower ranks")
        at = found.index(lowest)
        del ends[at + 1], found[at]
        for i in (at - 1, at):
            if 0 <= i < len(found):
                found[i] = joined(i)
    return ends[1:2]


def letters() -> dict[int, str]:
    """GPT-2's letter for each byte: itself where it can be printed and is no space, else one from 256 on."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}
