"""What LMMs that draw features share: what their samples may be, and what names the noise of their decoders."""

from __future__ import annotations

from silmm.kernels.divdrop import SITES
from silmm.lmm.interface import Sampling

NOISES = ("constant", "prompt", "free")
POSITIONS = ("queries", "all")


def check_dropout(sampling: Sampling, layers: int) -> None:
    """Raises ValueError naming a field of DivDrop that does not fit a model of so many layers, and what it may be."""
    if not 0 <= sampling.rate < 1:
        raise ValueError(f"DivDrop's rate is {sampling.rate}: must be at least 0 and below 1")
    if not 0 <= sampling.layers <= layers:
        raise ValueError(f"DivDrop's layers is {sampling.layers}: must be 0 to {layers}, the layers of the model")
    if sampling.positions not in POSITIONS:
        raise ValueError(f"DivDrop's positions is {sampling.positions!r}: choose one of {', '.join(POSITIONS)}")
    if sampling.site not in SITES:
        raise ValueError(f"DivDrop's site is {sampling.site!r}: choose one of {', '.join(SITES)}")


def noise_key(noise: str, prompt_key: tuple, sample: int, number: int = 0) -> tuple:
    """Key of a picture's decoder noise: one for all (`constant`), one a prompt, or one a sample (`free`); `number`
    tells a sample's pictures apart.

    Raises ValueError for another `noise`.
    """
    if noise not in NOISES:
        raise ValueError(f"noise is {noise!r}: choose one of {', '.join(NOISES)}")
    of = {"constant": (), "prompt": prompt_key, "free": (*prompt_key, sample)}[noise]
    return ("noise", *of, f"number {number}") if number else ("noise", *of)
