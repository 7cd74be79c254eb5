"""What the sheets of pictures share: letters, the header, and a picture framed by the oracle's verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from silmm.atomic import atomic_file
from silmm.outputs import PNG, png_signature

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

HOLDS, FAILS = (0, 140, 90), (205, 45, 35)  # told apart by brightness too, and by the mark under each picture
INK, FAINT, RULE, PAPER = (25, 25, 25), (110, 110, 110), (215, 215, 215), (255, 255, 255)
MARGIN, MARK = 24, 20  # pixels: around the sheet; for the mark under a picture
_FRAME, _INSET = 3, 2


def box_of(side: int) -> int:
    """Edge of a framed picture, in pixels."""
    return side + 2 * (_FRAME + _INSET)


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine, and it has the marks."""
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    # The basic layout engine: raqm, where Pillow has it, places glyphs by other rules.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(folder / name), size, layout_engine=ImageFont.Layout.BASIC)


def wrap(text: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and letters.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def new_sheet(size: tuple[int, int], lines: Sequence[str], verdicts: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """White paper with a header: `lines` (a title, and what else must be said), then `verdicts` and what frames mean.

    The header ends 38 pixels below the last of `lines`, whose first stands at 18.
    """
    from PIL import Image, ImageDraw

    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    small, y = font(11), 18
    for number, line in enumerate(lines):
        draw.text((MARGIN, y), line, FAINT if number else INK, small if number else font(17, bold=True))
        y += 18 if number else 28
    parts = [
        (f"{verdicts}        ", FAINT),
        ("\u2713 the oracle finds the whole prompt", HOLDS),
        ("      ", INK),
        ("\u2717 it does not", FAILS),
    ]
    x = float(MARGIN)
    for text, color in parts:
        draw.text((x, y), text, color, small)
        x += small.getlength(text)
    return sheet, draw


def add_picture(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, corner: tuple[int, int], rgb: np.ndarray, ok: bool, side: int
) -> None:
    """One framed picture with its mark below: enlarged by whole pixels, never smoothed, to at most `side` pixels, or
    reduced to it.

    Raises ValueError for a picture that is not uint8 `[H, W, 3]`.
    """
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
    color = HOLDS if ok else FAILS
    edge = box_of(side) - 1
    draw.rectangle((x, y, x + edge, y + edge), PAPER, color, _FRAME)
    sheet.paste(image, (x + (edge + 1 - image.width) // 2, y + (edge + 1 - image.height) // 2))
    draw.text((x + edge / 2, y + edge + 4), "\u2713" if ok else "\u2717", color, font(11), anchor="ma")


def save(sheet: Image.Image, out: Path) -> None:
    """Write it as PNG."""
    with atomic_file(Path(out), PNG) as temporary:
        sheet.save(temporary, format="PNG", optimize=True, pnginfo=png_signature())
