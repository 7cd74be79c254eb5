"""Texts that an LMM writes block by block, kept until its stage has ended: an interrupted one goes on where it was.

Steps 1 and 3 are one job each, because prompts must differ from each other and questions are short; with billions of
parameters and the paper's 16,000 prompts they still take hours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from silmm.align.state import remove_kept
from silmm.atomic import atomic_file
from silmm.stages.runtime import progress

BLOCK = 64  # rows: as many as an LMM of ShapeWorld writes at a time, so that its texts are the same as at one go


def in_blocks(write: Callable[[slice], list[str]], rows: int, *, journal: Path | None, name: str) -> list[str]:
    """The texts of rows 0, 1, .., as `write` gives them for a slice, whole blocks at a time: the same as at one go.

    journal: a folder of this stage with these settings and inputs alone, or None to keep nothing; name: of this round.
    """
    texts: list[str] = []
    for start in progress(range(0, rows, BLOCK), name):
        block = slice(start, min(start + BLOCK, rows))
        file = journal and journal / f"{name}-{start}.json"
        kept = _read(file, block.stop - start) if file else None
        if kept is None:
            kept = write(block)
            if file:
                with atomic_file(file) as temporary:
                    temporary.write_text(json.dumps(kept), encoding="utf-8")
        texts += kept
    return texts


def close(state: Path | None) -> None:
    """Remove what journals of a stage that has ended kept in `state`; `state` itself, and the folder above, if nothing
    else is in them."""
    if state and state.is_dir():
        remove_kept(state)
        with suppress(OSError):  # somebody else's files are in it
            state.parent.rmdir()


def _read(file: Path, rows: int) -> list[str] | None:
    """The texts of a block, or None where they are not there, or not whole."""
    try:
        texts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    whole = isinstance(texts, list) and len(texts) == rows and all(isinstance(text, str) for text in texts)
    return texts if whole else None
