"""Direct labels of lines in a figure, placed where there is room: beside a point, or in a column at the lines' ends."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.patheffects as effects
import numpy as np
import pandas as pd

SIDES = ((1, 0), (1, 1), (1, -1), (0, 1), (0, -1), (-1, 1), (-1, -1), (-1, 0))  # (right, up), the best first
ALIGN = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}
End = tuple[float, float, str, str]  # x, y, text, color
HALO = [effects.withStroke(linewidth=2.5, foreground="white")]


class Labels:
    """Direct labels that keep off the lines, the dots and each other: each takes the freest of eight places."""

    def __init__(self, ax: Any, paths: list[pd.DataFrame]) -> None:
        """Set the axes' limits first. `paths`: the lines to avoid, x and y in the first two columns."""
        self.ax = ax
        self.taken: list[Any] = []
        fractions = np.linspace(0, 1, 60)[:, None]
        dots = [ax.transData.transform(path.iloc[:, :2].to_numpy(float)) for path in paths]
        lines = [a + fractions * (b - a) for d in dots for a, b in itertools.pairwise(d)]
        self.lines, self.dots = np.concatenate(lines + dots), np.concatenate(dots)

    def add(self, x: float, y: float, text: str, color: str) -> None:
        """Put the text beside the point (x, y)."""
        renderer = self.ax.figure.canvas.get_renderer()
        best: tuple[float, Any, Any] | None = None
        for rank, (right, up) in enumerate(SIDES):
            (ha, _), (_, va) = ALIGN[right], ALIGN[up]
            label = self.ax.annotate(
                text, (x, y), ((8 if not up else 5) * right, (8 if not right else 3) * up), textcoords="offset points",
                ha=ha, va=va, color=color, linespacing=0.95, path_effects=HALO, zorder=7,
            )  # fmt: skip
            box = label.get_window_extent(renderer)
            inside = _inside(self.lines, box, 2, 1) + 20 * _inside(self.dots, box, 4, 3)  # dots are wider than lines
            off = box.x0 < self.ax.bbox.x0 or box.y0 < self.ax.bbox.y0 + 2 or box.x1 > self.ax.figure.bbox.x1 - 2
            cost = inside + 200 * sum(box.overlaps(other) for other in self.taken) + 200 * off + rank / 10
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, label, box
            else:
                label.remove()
        if best is not None:
            self.taken.append(best[2])

    def column(self, x: float, ends: Sequence[End]) -> None:
        """Label the lines that end at (x, y) in a column at `x`: at the height of their ends, as far as there is room.

        Args:
            x: left edge of the column, right of all ends.
            ends: (x, y, text, color) of each line; a text that had to move is led to by a thin line.
        """
        renderer = self.ax.figure.canvas.get_renderer()
        up, down = self.ax.transData.transform, self.ax.transData.inverted().transform
        ends = sorted(ends, key=lambda end: end[1])
        texts = [
            self.ax.text(x, y, text, color=color, va="center", linespacing=0.95, path_effects=HALO, zorder=7)
            for _, y, text, color in ends
        ]
        heights = np.array([text.get_window_extent(renderer).height for text in texts])
        wanted = np.array([up((x, y))[1] for _, y, *_ in ends])
        for (start, y, _, color), text, old, new in zip(ends, texts, wanted, spread(wanted, heights), strict=True):
            place = down((up((x, y))[0], new))[1]
            text.set_y(place)
            if abs(new - old) > 3:
                self.ax.plot([start, x], [y, place], color=color, lw=0.6, alpha=0.7, zorder=2)
            self.taken.append(text.get_window_extent(renderer))


def _inside(points: np.ndarray, box: Any, wide: float, tall: float) -> int:
    """How many of the points `[n, 2]` lie within the box and a margin around it, all in pixels."""
    low, high = (box.x0 - wide, box.y0 - tall), (box.x1 + wide, box.y1 + tall)
    return int(((points > low) & (points < high)).all(1).sum())


def spread(wanted: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Places for the middles of things of these heights that do not overlap: as near to the wanted ones as can be.

    Least squares with the order kept (pool adjacent violators); both `[n]`, `wanted` ascending, one unit for all.
    """
    steps = np.concatenate([[0.0], np.cumsum((heights[1:] + heights[:-1]) / 2)])
    pools: list[tuple[float, int]] = []
    for value in wanted - steps:
        pools.append((float(value), 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    return np.repeat([value for value, _ in pools], [n for _, n in pools]) + steps
