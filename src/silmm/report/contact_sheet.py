"""The contact sheet: the same prompts drawn by two policies side by side, framed by the oracle's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from silmm.atomic import atomic_file

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_HOLDS, _FAILS = (0, 140, 90), (205, 45, 35)  # told apart by brightness too, and by the mark under each picture
_INK, _FAINT, _PAPER = (25, 25, 25), (110, 110, 110), (255, 255, 255)
_MARGIN, _GAP, _FRAME, _INSET = 24, 26, 3, 2


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

    Hand it unselected prompts (the first of each category); the sheet says nothing of how they were chosen. Pictures
    are enlarged by whole pixels, never smoothed, to at most `side` pixels (large ones are reduced to it).

    Args:
        names: what stands left and right in each pair.
        columns: prompts in a row.

    Raises:
        ValueError: no tiles, or a picture that is not uint8 `[H, W, 3]`.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one tile")
    from PIL import Image, ImageDraw

    box = side + 2 * (_FRAME + _INSET)
    pair = 2 * box + 6
    font, small, bold, head = _font(12), _font(11), _font(12, bold=True), _font(17, bold=True)
    blocks: dict[str, list[tuple[Tile, list[str]]]] = {}
    for tile in tiles:
        blocks.setdefault(tile.category, []).append((tile, _wrap(tile.prompt, font, pair)))

    rows: list[tuple[str, list[tuple[Tile, list[str]]]]] = []  # the category's name stands over its first row only
    for category, members in blocks.items():
        for start in range(0, len(members), columns):
            rows.append(("" if start else category.replace("_", " "), members[start : start + columns]))
    heights = [(26 if name else 0) + 16 * max(len(lines) for _, lines in row) + box + 34 for name, row in rows]
    width = 2 * _MARGIN + columns * pair + (columns - 1) * _GAP
    sheet = Image.new("RGB", (width, 92 + sum(heights)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 18), title, _INK, head)
    _legend(draw, tiles, names, small)

    y = 84
    for (name, row), height in zip(rows, heights, strict=True):
        top = y
        if name:
            draw.line((_MARGIN, y, width - _MARGIN, y), (215, 215, 215))
            draw.text((_MARGIN, y + 6), name, _INK, bold)
            top += 26
        text_height = 16 * max(len(lines) for _, lines in row)
        for column, (tile, lines) in enumerate(row):
            x = _MARGIN + column * (pair + _GAP)
            for number, line in enumerate(lines):  # against the pictures below, whatever the neighbours' line count
                draw.text((x, top + text_height - 16 * (len(lines) - number)), line, _INK, font)
            for place, (rgb, ok) in enumerate(((tile.base_rgb, tile.base_ok), (tile.after_rgb, tile.after_ok))):
                _picture(sheet, draw, (x + place * (box + 6), top + text_height + 4), rgb, ok, side, small)
        y += height
    with atomic_file(Path(out)) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine, and it has the marks."""
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    # The basic layout engine: raqm, where Pillow has it, places glyphs by other rules.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(folder / name), size, layout_engine=ImageFont.Layout.BASIC)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _legend(
    draw: ImageDraw.ImageDraw, tiles: Sequence[Tile], names: tuple[str, str], font: ImageFont.FreeTypeFont
) -> None:
    """What stands left and right, what the frames mean, and how many of these prompts hold."""
    n, left, right = len(tiles), sum(t.base_ok for t in tiles), sum(t.after_ok for t in tiles)
    parts = [
        (f"left {names[0]}: {left} of {n} hold    right {names[1]}: {right} of {n} hold        ", _FAINT),
        ("\u2713 the oracle finds the whole prompt", _HOLDS),
        ("      ", _INK),
        ("\u2717 it does not", _FAILS),
    ]
    x = float(_MARGIN)
    for text, color in parts:
        draw.text((x, 46), text, color, font)
        x += font.getlength(text)


def _picture(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    rgb: np.ndarray,
    ok: bool,
    side: int,
    font: ImageFont.FreeTypeFont,
) -> None:
    """One framed picture with its mark below."""
    from PIL import Image

    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"a picture must be uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}")
    image = Image.fromarray(np.ascontiguousarray(rgb))
    factor = side // max(image.size)
    if factor:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    else:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    x, y = corner
    color = _HOLDS if ok else _FAILS
    edge = side + 2 * (_FRAME + _INSET) - 1
    draw.rectangle((x, y, x + edge, y + edge), _PAPER, color, _FRAME)
    sheet.paste(image, (x + (edge + 1 - image.width) // 2, y + (edge + 1 - image.height) // 2))
    draw.text((x + edge / 2, y + edge + 4), "\u2713" if ok else "\u2717", color, font, anchor="ma")
