"""The sample sheet: several samples of a prompt side by side, one policy above the other, framed by the oracle's
verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from silmm.report.sheet import FAINT, INK, MARGIN, MARK, RULE, add_picture, box_of, font, new_sheet, save

_NAMES, _GAP = 62, 6  # pixels: for the names of the policies; between pictures


@dataclass(frozen=True)
class Strip:
    """One prompt and N samples of it by each policy, uint8 `[N, H, W, 3]`, with the oracle's word on each `[N]`."""

    prompt: str
    category: str
    base_rgb: np.ndarray
    after_rgb: np.ndarray
    base_ok: np.ndarray
    after_ok: np.ndarray


def sample_sheet(
    strips: Sequence[Strip],
    out: Path,
    lines: Sequence[str],
    *,
    names: tuple[str, str] = ("base", "after"),
    side: int = 90,
) -> None:
    """Write the sheet as PNG, a block of two rows a prompt; sample k of both policies stands in column k.

    Hand it unselected prompts, and say so in `lines`.

    Args:
        lines: the title, and what must be said below it.
        names: of the policies, the upper and the lower row of each block.
        side: of a picture in pixels (see `silmm.report.sheet.add_picture`).

    Raises:
        ValueError: no strips, strips of different numbers of samples, or a picture that is not uint8 `[H, W, 3]`.
    """
    counts = {len(rows) for s in strips for rows in (s.base_rgb, s.after_rgb, s.base_ok, s.after_ok)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"a sample sheet needs strips of one number of samples, not of {sorted(counts) or 'none'}")
    samples, box = counts.pop(), box_of(side)
    row_height, head = box + MARK + 4, 54 + 18 * len(lines)
    block = 30 + 2 * row_height
    width = 2 * MARGIN + _NAMES + samples * (box + _GAP) - _GAP
    sheet, draw = new_sheet((width, head + 16 + len(strips) * block), lines, _verdicts(strips, names, samples))
    letters, small, bold = font(12), font(11), font(12, bold=True)
    for number, strip in enumerate(strips):
        y = head + number * block
        category = strip.category.replace("_", " ")
        draw.line((MARGIN, y, width - MARGIN, y), RULE)
        draw.text((MARGIN, y + 7), category, INK, bold)
        draw.text((MARGIN + bold.getlength(category) + 12, y + 7), strip.prompt, INK, letters)
        sides = ((names[0], strip.base_rgb, strip.base_ok), (names[1], strip.after_rgb, strip.after_ok))
        for place, (name, pictures, held) in enumerate(sides):
            top = y + 30 + place * row_height
            draw.text((MARGIN, top + box // 2 - 15), name, INK, letters)
            draw.text((MARGIN, top + box // 2 + 1), f"{np.sum(held)} of {samples}", FAINT, small)
            for k, (rgb, ok) in enumerate(zip(pictures, held, strict=True)):
                add_picture(sheet, draw, (MARGIN + _NAMES + k * (box + _GAP), top), rgb, bool(ok), side)
    save(sheet, out)


def _verdicts(strips: Sequence[Strip], names: tuple[str, str], samples: int) -> str:
    """Which row is whose, and how many of these pictures hold."""
    above, below = sum(int(np.sum(s.base_ok)) for s in strips), sum(int(np.sum(s.after_ok)) for s in strips)
    n = samples * len(strips)
    return f"upper rows {names[0]}: {above} of {n} hold    lower rows {names[1]}: {below} of {n} hold"
