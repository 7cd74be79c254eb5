"""Intervals: a bootstrap over prompts, and a t-interval over seeds. numpy only, the same bytes on every run.

Images of one prompt are alike, and so are the units of one image; they are no independent draws. The prompt is, so
prompts are resampled, each with all its rows (a cluster bootstrap). The resampled prompt numbers depend on the
stratum and the number of prompts alone. Every evaluation of the same prompts is therefore resampled alike, and the
difference of two evaluations' replicates IS the paired bootstrap of their difference.

Two different questions, two intervals:
- `percentile_interval`: how far the value would move with other prompts, for the very policies at hand. Over several
  seeds the replicates are averaged; the seeds themselves are not resampled (three of them cannot say how seeds vary,
  and resampling them gives intervals that are too narrow).
- `t_interval`: how far the mean would move with other seeds, from the seeds' own values. Wide with three seeds.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from silmm.rng import generator

RESAMPLES = 2000
LEVEL = 0.95
# 97.5 % quantiles of Student's t for 1 to 10 degrees of freedom: rounded here, so that those of a study keep their
# digits.
_T975 = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)


class Measured(NamedTuple):
    """A metric, measured: its value, and how it varies when the prompts are resampled."""

    ids: tuple[str, ...]
    """The prompts, sorted within a stratum: what may be compared with what."""
    value: float
    n: int
    """Judgements behind the value."""
    draws_R: np.ndarray
    """Bootstrap replicates of the value, `[RESAMPLES]`; nan where a stratum has one prompt only, or where prompts
    without a judgement alone were drawn."""


@functools.lru_cache(maxsize=16)
def _resampled(prompts: int, stratum: str) -> np.ndarray:
    """Prompt numbers `[RESAMPLES, prompts]`, drawn with replacement; a pure function of the arguments."""
    drawn = generator("bootstrap", stratum, prompts).integers(prompts, size=(RESAMPLES, prompts))
    return drawn.astype(np.min_scalar_type(prompts))  # a benchmark of thousands would keep gigabytes here


def measure(prompt_ids: Sequence[str], sums: np.ndarray, counts: np.ndarray, stratum: str) -> Measured:
    """The mean of a stratum's judgements, from their sums and counts (one row a prompt or finer, in any order).

    A prompt with more judgements weighs more, in the value and in its replicates (ratio estimator); one with none
    is drawn with the others, so that every metric of the same prompts is resampled alike. With one prompt the
    replicates are nan: it tells nothing of other prompts. ValueError for no judgements at all.
    """
    if len(prompt_ids) != len(sums) or len(sums) != len(counts) or np.sum(counts) == 0:
        raise ValueError(f"{stratum}: {len(prompt_ids)} prompt ids, {len(sums)} sums: nothing to measure")
    ids, place = np.unique(np.asarray(prompt_ids, dtype=str), return_inverse=True)
    sums_P = np.bincount(place, weights=np.asarray(sums, dtype=np.float64))
    counts_P = np.bincount(place, weights=np.asarray(counts, dtype=np.float64))
    draws = np.full(RESAMPLES, np.nan)
    if len(ids) > 1:
        index = _resampled(len(ids), stratum)
        with np.errstate(invalid="ignore"):  # 0 / 0 is nan, as it should be
            draws = sums_P[index].sum(1) / counts_P[index].sum(1)
    return Measured(tuple(ids.tolist()), float(sums_P.sum() / counts_P.sum()), int(counts_P.sum()), draws)


def mean_of(strata: Sequence[Measured]) -> Measured:
    """The plain mean over strata (each weighs the same): strata are resampled independently of each other."""
    return Measured(
        tuple(i for stratum in strata for i in stratum.ids),
        float(np.mean([stratum.value for stratum in strata])),
        sum(stratum.n for stratum in strata),
        np.mean([stratum.draws_R for stratum in strata], axis=0),
    )


def percentile_interval(draws_R: np.ndarray) -> tuple[float, float]:
    """The central 95 % of bootstrap replicates; (nan, nan) if any of them is nan."""
    if np.isnan(draws_R).any():
        return math.nan, math.nan
    low, high = np.quantile(draws_R, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)


def t975(df: int) -> float:
    """97.5 % quantile of Student's t: tabulated up to 10 degrees of freedom, then its series in 1/df (error < 2e-4)."""
    if df < 1:
        raise ValueError(f"Student's t needs a degree of freedom, not {df}")
    if df <= len(_T975):
        return _T975[df - 1]
    z = 1.959964
    series = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    return series + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of independent values, one a seed; (nan, nan) for fewer than two."""
    if len(values) < 2:
        return math.nan, math.nan
    mean, half = np.mean(values), t975(len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(mean - half), float(mean + half)


class Difference(NamedTuple):
    """A paired difference, the mean over seeds, with both of its 95 % intervals."""

    value: float
    ci_low: float
    ci_high: float
    t_low: float
    t_high: float
    seeds: int


def paired_difference(before: Sequence[Measured], after: Sequence[Measured]) -> Difference:
    """`after` minus `before`, one of each a seed, judged on the same prompts; ValueError if the prompts differ.

    Prompts are resampled jointly over the seeds. That is right where seeds share their prompts (a hard prompt is hard
    for each) and where they do not (then the pairing by number is arbitrary, and harmless).
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"a paired difference of {len(before)} evaluations before and {len(after)} after")
    if any(a.ids != b.ids for a, b in zip(before, after, strict=True)):
        raise ValueError("the two evaluations judged different prompts")
    by_seed = [b.value - a.value for a, b in zip(before, after, strict=True)]
    draws_SR = [b.draws_R - a.draws_R for a, b in zip(before, after, strict=True)]
    ci = percentile_interval(np.mean(draws_SR, axis=0))
    return Difference(float(np.mean(by_seed)), *ci, *t_interval(by_seed), len(by_seed))
