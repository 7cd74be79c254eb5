"""What the oracle says of pictures, for the stages that show or compare them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silmm.lmm.interface import VisualTokens
from silmm.shapeworld.language import Spec, units
from silmm.shapeworld.oracle import judge, read


class Verdicts(NamedTuple):
    """Pictures and what the oracle says of them."""

    pictures_NHWC: np.ndarray  # uint8
    whole_N: np.ndarray  # bool: every unit of the prompt holds
    held_N: np.ndarray  # float64: share of them that hold
    malformed_N: np.ndarray  # bool: it shows no scene at all


def verdicts(policy: VisualTokens, specs: Sequence[Spec], tokens_NL: np.ndarray) -> Verdicts:
    """Render visual tokens and judge each picture by the specification of its prompt."""
    pictures = policy.render(tokens_NL)
    scenes = read(pictures)
    held = [np.mean([judge(unit, scene) for unit in units(spec)]) for spec, scene in zip(specs, scenes, strict=True)]
    held_N = np.array(held, np.float64)
    return Verdicts(pictures, held_N == 1, held_N, np.array([scene is None for scene in scenes], bool))
