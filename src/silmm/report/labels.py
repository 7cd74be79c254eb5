"""Direct labels of lines in a figure, placed where there is room."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib.patheffects as effects
import numpy as np
import pandas as pd

SIDES = ((1, 0), (1, 1), (1, -1), (0, 1), (0, -1), (-1, 1), (-1, -1), (-1, 0))  # (right, up), the best first
ALIGN = {-1: ("right", "top"), 0: ("center", "center"), 1: ("left", "bottom")}
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
        self.avoid = np.concatenate(lines + dots)

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
            inside = ((self.avoid > (box.x0 - 2, box.y0 - 1)) & (self.avoid < (box.x1 + 2, box.y1 + 1))).all(1).sum()
            off = box.x0 < self.ax.bbox.x0 or box.y0 < self.ax.bbox.y0 + 2
            cost = inside + 200 * sum(box.overlaps(other) for other in self.taken) + 200 * off + rank / 10
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, label, box
            else:
                label.remove()
        if best is not None:
            self.taken.append(best[2])
