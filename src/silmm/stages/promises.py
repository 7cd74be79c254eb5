"""What an LMM gave is what its interface promises, or the stage ends here in one line: nothing else reaches a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from silmm.errors import InputError
from silmm.lmm.interface import LMM, Drawn, Sampling

BROKEN = "its weights are damaged, or its adapter has a bug"


def texts(given: Sequence[str], wanted: int, ckpt: Path) -> list[str]:
    """As many texts as were asked for. Raises InputError."""
    if len(given) != wanted or not all(isinstance(text, str) for text in given):
        raise InputError(f"{ckpt}: the LMM wrote {len(given)} texts where {wanted} were asked for: {BROKEN}")
    return list(given)


def probabilities(given: Sequence[np.ndarray], questions: Sequence[Sequence[str]], ckpt: Path) -> list[np.ndarray]:
    """(p_yes, p_no) `[Q_i, 2]` of each picture's questions. Raises InputError."""
    shapes, wanted = [np.shape(probs) for probs in given], [(len(rows), 2) for rows in questions]
    if shapes != wanted:
        i = next((i for i, pair in enumerate(zip(shapes, wanted, strict=False)) if pair[0] != pair[1]), None)
        found = f"{len(shapes)} pictures" if i is None else f"picture {i} as {list(shapes[i])}"
        asked = f"{len(wanted)}" if i is None else f"{list(wanted[i])}"
        raise InputError(f"{ckpt}: the LMM answered for {found}, expected {asked}: {BROKEN}")
    for probs in given:
        if len(probs) and not (np.isfinite(probs).all() and np.min(probs) >= 0 and np.max(probs) <= 1):
            raise InputError(f"{ckpt}: the LMM answered {np.ravel(probs)[:4].tolist()}, no probabilities: {BROKEN}")
    return list(given)


def pictures(drawn: Drawn, prompts: int, samples: int, sampling: Sampling, policy: LMM, ckpt: Path) -> Drawn:
    """Samples of each prompt: visual tokens or pixels, and features of a continuous LMM. Raises InputError."""
    rows = (prompts, samples * sampling.noises)
    tokens, feats, pixels = drawn
    bad = []
    if (tokens is None) == (pixels is None):
        bad.append("visual tokens and pixels, or neither")
    if tokens is not None and (tokens.shape[:2] != rows or tokens.ndim != 3 or tokens.dtype.kind not in "iu"):
        bad.append(f"visual tokens {tokens.dtype} {list(tokens.shape)}")
    elif tokens is not None and tokens.size and tokens.min() < 0:
        bad.append("visual tokens below 0")
    if pixels is not None and (pixels.shape[:2] != rows or pixels.ndim != 5 or pixels.dtype != np.uint8):
        bad.append(f"pixels {pixels.dtype} {list(pixels.shape)}")
    if (feats is None) != (policy.images == "discrete"):
        bad.append("features of a discrete LMM, or none of a continuous one")
    if feats is not None and (feats.shape[:2] != (prompts, samples) or feats.ndim != 4 or feats.dtype.kind != "f"):
        bad.append(f"features {feats.dtype} {list(feats.shape)}")
    elif feats is not None and not np.isfinite(feats).all():
        bad.append("features that are not finite")
    if bad:
        expected = f"expected {prompts} prompts with {samples} samples each"
        raise InputError(f"{ckpt}: the LMM drew {'; '.join(bad)}: {expected}: {BROKEN}")
    return drawn
