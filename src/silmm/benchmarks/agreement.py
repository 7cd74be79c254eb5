"""How far scores of pictures agree with people's: correlations, with intervals over prompts. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silmm.report.stats import percentile_interval
from silmm.rng import generator

MEASURES = ("spearman", "kendall", "pearson")
RESAMPLES = 1000


class Agreement(NamedTuple):
    """One correlation, from -1 to 1."""

    measure: str  # of MEASURES
    value: float  # nan where all scores are the same
    ci_low: float  # 95 %, nan where there is one prompt, or a resample has one score only
    ci_high: float


def agreement(scores: Sequence[float], human: Sequence[float], prompts: Sequence[str]) -> list[Agreement]:
    """Spearman's rho (ties have their mean rank), Kendall's tau-b and Pearson's r of N pictures' scores with people's.

    The interval is a bootstrap over prompts, each with all its pictures: pictures of one prompt are no independent
    draws. What is drawn depends on the number of prompts alone, so that all scores of the same pictures are resampled
    alike. ValueError where the three differ in length, or are empty.
    """
    if not len(scores) == len(human) == len(prompts) > 0:
        raise ValueError(f"{len(scores)} scores, {len(human)} human scores, {len(prompts)} prompts")
    scores_N, human_N = np.asarray(scores, np.float64), np.asarray(human, np.float64)
    values = correlations(scores_N, human_N)
    _, place_N = np.unique(np.asarray(prompts, dtype=str), return_inverse=True)
    pictures = [np.flatnonzero(place_N == prompt) for prompt in range(place_N.max() + 1)]
    draws_RM = np.full((RESAMPLES, len(MEASURES)), np.nan)
    if len(pictures) > 1:
        drawn_RP = generator("agreement", len(pictures)).integers(len(pictures), size=(RESAMPLES, len(pictures)))
        for replicate, drawn_P in enumerate(drawn_RP):
            index = np.concatenate([pictures[prompt] for prompt in drawn_P])
            draws_RM[replicate] = correlations(scores_N[index], human_N[index])
    return [Agreement(name, values[i], *percentile_interval(draws_RM[:, i])) for i, name in enumerate(MEASURES)]


def correlations(scores_N: np.ndarray, human_N: np.ndarray) -> tuple[float, ...]:
    """One of each of MEASURES; nan where either side is constant, or has one picture."""
    from scipy import stats  # a second's import

    if len(scores_N) < 2 or np.ptp(scores_N) == 0 or np.ptp(human_N) == 0:
        return (np.nan,) * len(MEASURES)
    rho = stats.spearmanr(scores_N, human_N).statistic
    tau = stats.kendalltau(scores_N, human_N).statistic
    r = np.corrcoef(scores_N, human_N)[0, 1]
    return float(rho), float(tau), float(r)
