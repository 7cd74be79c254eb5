"""The contact sheet: the same prompts drawn by two policies side by side, framed by the oracle's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from silmm.report.sheet import INK, MARGIN, RULE, add_picture, box_of, font, new_sheet, save, wrap

_GAP = 26


@dataclass(frozen=True)
class Tile:
    """One prompt and its two pictures, uint8 `[H, W, 3]`, each with the oracle's word on the whole prompt."""

    prompt: str
    category: str
    base_rgb: np.ndarray
    after_rgb: np.ndarray
    base_ok: bool
    after_ok: bool


def contact_sheet(
    tiles: Sequence[Tile],
    out: Path,
    title: str,
    *,
    names: tuple[str, str] = ("base", "after"),
    columns: int = 4,
    side: int = 120,
) -> None:
    """Write the sheet as PNG: one block a category, in the order in which the categories first appear.

    Hand it unselected prompts (the first of each category); the sheet says nothing of how they were chosen.

    Args:
        names: what stands left and right in each pair.
        columns: prompts in a row.
        side: of a picture in pixels (see `silmm.report.sheet.add_picture`).

    Raises:
        ValueError: no tiles, or a picture that is not uint8 `[H, W, 3]`.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one tile")
    box = box_of(side)
    pair = 2 * box + 6
    letters, bold = font(12), font(12, bold=True)
    blocks: dict[str, list[tuple[Tile, list[str]]]] = {}
    for tile in tiles:
        blocks.setdefault(tile.category, []).append((tile, wrap(tile.prompt, letters, pair)))

    rows: list[tuple[str, list[tuple[Tile, list[str]]]]] = []  # the category's name stands over its first row only
    for category, members in blocks.items():
        for start in range(0, len(members), columns):
            rows.append(("" if start else category.replace("_", " "), members[start : start + columns]))
    heights = [(26 if name else 0) + 16 * max(len(lines) for _, lines in row) + box + 34 for name, row in rows]
    width = 2 * MARGIN + columns * pair + (columns - 1) * _GAP
    sheet, draw = new_sheet((width, 92 + sum(heights)), [title], _verdicts(tiles, names))

    y = 84
    for (name, row), height in zip(rows, heights, strict=True):
        top = y
        if name:
            draw.line((MARGIN, y, width - MARGIN, y), RULE)
            draw.text((MARGIN, y + 6), name, INK, bold)
            top += 26
        text_height = 16 * max(len(lines) for _, lines in row)
        for column, (tile, lines) in enumerate(row):
            x = MARGIN + column * (pair + _GAP)
            for number, line in enumerate(lines):  # against the pictures below, whatever the neighbours' line count
                draw.text((x, top + text_height - 16 * (len(lines) - number)), line, INK, letters)
            for place, (rgb, ok) in enumerate(((tile.base_rgb, tile.base_ok), (tile.after_rgb, tile.after_ok))):
                add_picture(sheet, draw, (x + place * (box + 6), top + text_height + 4), rgb, ok, side)
        y += height
    save(sheet, out)


def _verdicts(tiles: Sequence[Tile], names: tuple[str, str]) -> str:
    """What stands left and right, and how many of these prompts hold."""
    n, left, right = len(tiles), sum(t.base_ok for t in tiles), sum(t.after_ok for t in tiles)
    return f"left {names[0]}: {left} of {n} hold    right {names[1]}: {right} of {n} hold"
