"""The paper's own numbers that several scripts put beside ours: its Table 1, scores of T2I-CompBench++ times 100."""

from __future__ import annotations

# Which LMMs of the paper stand beside ours: the first one's ablations, too.
BESIDE = {"discrete": ("SEED-LLaMA", "Emu3"), "continuous": ("DreamLLM",)}
# base, + SILMM, and the relative gain in % (from more digits than the scores have), by group: attribute, layout,
# non-spatial, complex
TABLE_1 = {
    "SEED-LLaMA": ((19.20, 20.29, 28.86, 21.46), (39.60, 25.11, 29.82, 28.28), (106.25, 23.77, 3.33, 31.78)),
    "Emu3": ((44.79, 32.30, 30.15, 31.32), (59.71, 36.03, 30.51, 33.93), (33.30, 11.57, 1.19, 8.33)),
    "DreamLLM": ((22.94, 23.74, 28.76, 23.01), (39.94, 27.63, 29.00, 26.43), (74.15, 16.40, 0.83, 14.86)),
}


def base(lmm: str) -> tuple[float, ...]:
    """The base of the paper's counterpart of an LMM, by group."""
    return TABLE_1[BESIDE[lmm][0]][0]


def overall(groups: tuple[float, ...]) -> float:
    """The paper's overall score: the plain mean of the eight sub-categories, three each of which are the first two
    groups."""
    attribute, layout, non_spatial, complex_ = groups
    return (3 * attribute + 3 * layout + non_spatial + complex_) / 8
