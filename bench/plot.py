"""Draw bench/results/kernels.png from kernels.csv: `python -m bench.plot`.

A row of panels for each op and device: on the left the fraction of what the measured ceilings allow (the line at 1), on
the right how many times faster than eager (the line at 1; logarithmic). Implementations differ by colour and hatching.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

RESULTS = Path(__file__).parent / "results"
LOOKS = {  # Okabe and Ito's colours, which differ for all eyes, and a hatch each
    "eager": ("#ffffff", ""),
    "compile": ("#e6e6e6", "////"),
    "liger": ("#cc79a7", "xx"),
    "reference": ("#999999", ""),
    "cpp avx2": ("#56b4e9", "...."),
    "cpp": ("#0072b2", ""),
    "triton": ("#e69f00", "\\\\\\\\"),
    "cuda": ("#009e73", "--"),
}
BAR, GAP = 0.105, 0.09  # inches: of a bar, and between shapes
Row = dict[str, str]


def read(path: Path) -> dict[tuple[str, str], list[Row]]:
    """The rows of each device and op that have a fraction of a ceiling, without the ceilings themselves."""
    found: dict[tuple[str, str], list[Row]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if row["impl"] in LOOKS and row["of_ceiling"]:
                found.setdefault((row["device"], row["op"]), []).append(row)
    return found


def by_shape(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each shape and mode, the best implementation (the last of LOOKS) first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['shape']}, {row['mode']}", []).append(row)
    order = list(LOOKS)
    return {name: sorted(group, key=lambda row: -order.index(row["impl"])) for name, group in groups.items()}


def height(rows: list[Row]) -> float:
    """Inches of a panel."""
    return BAR * len(rows) + GAP * (len(by_shape(rows)) + 1)


def draw(axes: Axes, rows: list[Row], column: str) -> None:
    """The bars of one column of the table."""
    place, ticks, names = GAP, [], []
    for name, group in by_shape(rows).items():
        ticks.append(place + BAR * len(group) / 2)
        names.append(name)
        for row in group:
            colour, hatch = LOOKS[row["impl"]]
            value = float(row[column] or 0.0)
            axes.barh(
                place + BAR / 2, value, BAR * 0.9, color=colour, hatch=hatch, edgecolor="black", linewidth=0.4
            )  # fmt: skip
            axes.annotate(
                f"{value:.2g}" if value < 10 else f"{value:.0f}", (value, place + BAR / 2), (2, 0),
                textcoords="offset points", va="center", fontsize=5,
            )  # fmt: skip
            place += BAR
        place += GAP
    axes.set_ylim(place, 0)
    axes.set_yticks(ticks, names, fontsize=7)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.tick_params(axis="x", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def figure(tables: dict[tuple[str, str], list[Row]], out: Path) -> None:
    """All panels."""
    heights = [height(rows) for rows in tables.values()]
    room = 0.75  # inches above and below each panel
    total = sum(heights) + room * len(heights) + 0.5
    fig = plt.figure(figsize=(10, total))
    top = total - 0.5
    for (device, op), rows in tables.items():
        inches = height(rows)
        top -= room * 0.6
        left, right = (
            fig.add_axes((x, (top - inches) / total, width, inches / total))
            for x, width in ((0.27, 0.33), (0.65, 0.33))
        )
        draw(left, rows, "of_ceiling")
        left.set_xlim(0, 1.1)
        draw(right, rows, "vs_eager")
        right.set_xscale("log")
        speeds = [float(row["vs_eager"]) for row in rows if row["vs_eager"]]
        right.set_xlim(min(0.5, 0.8 * min(speeds)), max(2.0, 1.6 * max(speeds)))
        right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        right.xaxis.set_minor_formatter(NullFormatter())
        right.set_yticklabels([])
        fig.text(0.01, (top + 0.22) / total, op, fontsize=10, weight="bold")
        fig.text(0.01 + 0.012 * len(op), (top + 0.22) / total, f"{device}, {rows[0]['dtype']}", fontsize=8)
        left.set_title("fraction of the ceiling", fontsize=7, loc="left")
        right.set_title("times faster than eager", fontsize=7, loc="left")
        top -= inches + room * 0.4
    used = {row["impl"] for rows in tables.values() for row in rows}
    patches = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.4, label=impl)
        for impl, (colour, hatch) in LOOKS.items()
        if impl in used
    ]
    fig.legend(handles=patches, ncols=len(patches), loc="upper center", fontsize=8, frameon=False)
    fig.savefig(out, dpi=130)


def main() -> None:
    """Read and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=RESULTS / "kernels.csv")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels.png")
    options = parser.parse_args()
    tables = read(options.csv)
    if not tables:
        raise SystemExit(f"bench.plot: {options.csv} has no rows with a fraction of a ceiling")
    figure(tables, options.out)


if __name__ == "__main__":
    main()
