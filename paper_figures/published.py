"""The paper's own numbers that several scripts put beside ours: its Table 1, scores times 100."""

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
# What it calls the pretrained LMMs that both know, and their other columns: DPG-Bench (global, entity, attribute,
# relation, other, all) and TIFA, base and + SILMM.
PRETRAINED = {"dreamllm": "DreamLLM", "emu3": "Emu3", "seed_llama": "SEED-LLaMA"}
DPG_AND_TIFA = {
    "SEED-LLaMA": (
        (65.59, 55.87, 61.96, 62.77, 59.46, 47.12, 66.74),
        (73.55, 70.48, 68.49, 74.79, 68.64, 57.31, 73.74),
    ),
    "DreamLLM": (
        (74.47, 65.86, 63.80, 74.24, 46.00, 53.93, 69.91),
        (76.29, 75.91, 69.20, 84.41, 60.00, 64.22, 75.38),
    ),
    "Emu3": (
        (84.19, 80.81, 82.75, 87.23, 50.80, 74.19, 81.86),
        (84.19, 81.57, 84.52, 89.01, 64.80, 77.45, 85.11),
    ),
}


def base(lmm: str) -> tuple[float, ...]:
    """The base of the paper's counterpart of an LMM, by group."""
    return TABLE_1[BESIDE[lmm][0]][0]


def overall(groups: tuple[float, ...]) -> float:
    """The paper's overall score: the plain mean of the eight sub-categories, three each of which are the first two
    groups."""
    attribute, layout, non_spatial, complex_ = groups
    return (3 * attribute + 3 * layout + non_spatial + complex_) / 8
