"""Do features stay where their decoder was trained? (For continuous LMMs that can tell.)"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from silmm.lmm.interface import LMM, RangedFeatures
from silmm.records import Prompt, RecordError, read_jsonl
from silmm.shapeworld.exam import EvalPrompt
from silmm.stages.representations import read_features

BLOCK = 64  # prompts

Ranges = dict[str, list[float]]  # by sub-category, one number a prompt or sample


def feature_ranges(
    policy: LMM, tests: list[EvalPrompt], prompts: Path | None, images: tuple[Path, ...] | None
) -> dict[str, Ranges]:
    """Distances from the training range (see `RangedFeatures`), 1.0 being like in training, by way of drawing:

    `no_dropout`: the policy's own features of the evaluation prompts. Decoder noise does not change them.
    `step2`: the features that step 2 kept, if the iteration's data is given: DivDrop's, in the very settings that the
        policy was trained with. They are of the policy before it and of its own prompts, like the iteration's pairs;
        that is what step 5 learns from, and it costs nothing to look at.

    Nothing for an LMM that does not know its decoder's range.
    """
    if not isinstance(policy, RangedFeatures):
        return {}
    plain = [test.prompt for test in tests]
    with torch.no_grad():
        feats = [policy.features(plain[i : i + BLOCK]).numpy() for i in range(0, len(plain), BLOCK)]
    found = {"no_dropout": _by([test.subcategory for test in tests], policy.feature_range(np.concatenate(feats)))}
    if prompts and images:
        subcategory = {row.id: row.subcategory for row in read_jsonl(prompts, Prompt)}
        drawn = read_features(images)
        if lost := sorted({prompt_id for prompt_id, _ in drawn} - set(subcategory)):
            raise RecordError(f"{prompts}: prompt {lost[0]} is not in it, and there are images of it")
        names = [subcategory[prompt_id] for prompt_id, _ in drawn]
        found["step2"] = _by(names, policy.feature_range(np.stack(list(drawn.values()))))
    return found


def _by(names: list[str], values: np.ndarray) -> Ranges:
    by = defaultdict(list)
    for name, value in zip(names, values.tolist(), strict=True):
        by[name].append(value)
    return by
