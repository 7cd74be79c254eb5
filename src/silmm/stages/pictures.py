"""Drawn pictures, however an LMM came by them: as pixels, and what it answers when it is asked about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from silmm.lmm.interface import LMM, Drawn, VisualTokens
from silmm.stages import worlds
from silmm.stages.picture_file import read_pictures
from silmm.stages.representations import Picture, read_index, read_names, read_shard

Questions = Sequence[Sequence[str]]  # of each picture
Look = Callable[[slice, Questions], list[np.ndarray]]  # (p_yes, p_no) [Q_i, 2] of the pictures in these rows


def tokens_of(drawn: Drawn) -> np.ndarray:
    """Visual tokens `[P, N * M, L]`, of an LMM that draws them."""
    assert drawn.tokens_PNL is not None
    return drawn.tokens_PNL


def pixels_of(policy: LMM, drawn: Drawn) -> np.ndarray:
    """All pictures, uint8 `[P * N * M, H, W, 3]`: as they were drawn, or rendered from their visual tokens."""
    if drawn.pictures_PNHWC is not None:
        return drawn.pictures_PNHWC.reshape(-1, *drawn.pictures_PNHWC.shape[2:])
    assert isinstance(policy, VisualTokens)
    return policy.render(_rows(tokens_of(drawn)))


def answers_on(policy: LMM, drawn: Drawn, pixels: np.ndarray, questions: Questions) -> list[np.ndarray]:
    """(p_yes, p_no) `[Q_i, 2]` of pictures that were just drawn; `pixels`: as `pixels_of` gives them."""
    if worlds.of(policy).by_pixels:
        return policy.look(list(pixels), questions)
    assert isinstance(policy, VisualTokens)
    return policy.answer(_rows(tokens_of(drawn)), questions)


def looking_at(policy: LMM, folder: Path) -> tuple[list[Picture], Look]:
    """The pictures of an image folder of step 2, and how the policy answers questions about some of them.

    Raises RecordError for a file that is missing or damaged.
    """
    if worlds.of(policy).by_pixels:
        pictures, names = read_index(folder), read_names(folder)
        return pictures, lambda rows, questions: policy.look(read_pictures(folder, names[rows]), questions)
    assert isinstance(policy, VisualTokens)
    tokenized = policy
    pictures, tokens = read_shard(folder)
    return pictures, lambda rows, questions: tokenized.answer(tokens[rows], questions)


def _rows(array_PN: np.ndarray) -> np.ndarray:
    return array_PN.reshape(-1, array_PN.shape[-1])
