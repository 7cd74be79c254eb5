"""Bootstrap over prompts and t over seeds: values, coverage, pairing, and the same bytes every time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from silmm.report import stats


def measure(values_PN: np.ndarray, stratum: str = "color") -> stats.Measured:
    """A measurement of values `[prompts, images]`."""
    prompts, images = values_PN.shape
    ids = [f"p{i:04}" for i in range(prompts)]
    return stats.measure(ids, values_PN.sum(1), np.full(prompts, images), stratum)


def test_value_is_the_mean_over_judgements() -> None:
    it = stats.measure(["b", "a", "b"], np.array([1, 3, 2]), np.array([2, 4, 2]), "color")
    assert it.ids == ("a", "b")
    assert (it.value, it.n) == (6 / 8, 8)


def test_interval_covers_the_truth_about_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        low, high = stats.percentile_interval(measure(rng.random((60, 1)) < 0.4).draws_R)
        hits += low <= 0.4 <= high
    assert 0.91 <= hits / 200 <= 0.98


def test_rows_of_a_prompt_are_resampled_together() -> None:
    one = (np.random.default_rng(0).random((50, 1)) < 0.5).astype(float)
    single = stats.percentile_interval(measure(one).draws_R)
    copies = stats.percentile_interval(measure(np.repeat(one, 8, axis=1)).draws_R)
    assert copies == pytest.approx(single)  # eight copies of an image tell nothing new


def test_replicates_are_the_same_on_every_call_and_differ_between_strata() -> None:
    values = np.random.default_rng(0).random((20, 2))
    first = measure(values).draws_R
    stats._resampled.cache_clear()
    assert np.array_equal(measure(values).draws_R, first)
    assert not np.array_equal(measure(values, "shape").draws_R, first)


def test_stored_replicates() -> None:
    """A golden value: the intervals of a committed table must come out again."""
    low, high = stats.percentile_interval(measure(np.arange(20.0)[:, None]).draws_R)
    assert (low, high) == pytest.approx((6.94875, 12.05), abs=1e-12)


def test_mean_of_strata_weighs_them_alike() -> None:
    big, small = measure(np.ones((90, 1))), measure(np.zeros((10, 1)), "shape")
    both = stats.mean_of([big, small])
    assert (both.value, both.n, len(both.ids)) == (0.5, 100, 100)
    assert stats.percentile_interval(both.draws_R) == (0.5, 0.5)


def test_one_prompt_has_no_interval() -> None:
    single = measure(np.ones((1, 4)))
    assert single.value == 1
    assert all(math.isnan(end) for end in stats.percentile_interval(single.draws_R))
    assert all(math.isnan(end) for end in stats.percentile_interval(stats.mean_of([single, single]).draws_R))


def test_paired_difference_uses_the_pairing() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(size=(80, 1))  # prompts differ much, the gain is the same on each
    before, after = measure(hard), measure(hard + 0.1)
    gain = stats.paired_difference([before], [after])
    assert (gain.value, gain.ci_low, gain.ci_high) == pytest.approx((0.1, 0.1, 0.1))
    assert (gain.seeds, math.isnan(gain.t_low)) == (1, True)
    low, high = stats.percentile_interval(after.draws_R)
    assert high - low > 0.3


def test_paired_difference_averages_seeds_and_states_both_intervals() -> None:
    rng = np.random.default_rng(1)
    before = [measure(rng.normal(size=(200, 1))) for _ in range(3)]
    after = [measure(rng.normal(size=(200, 1)) + shift) for shift in (0.2, 0.5, 0.8)]
    gain = stats.paired_difference(before, after)
    by_seed = [b.value - a.value for a, b in zip(before, after, strict=True)]
    assert gain.value == pytest.approx(np.mean(by_seed))
    assert (gain.t_low, gain.t_high) == pytest.approx(stats.t_interval(by_seed))
    half = 1.96 * math.sqrt(2 / 200 / 3)  # two unit normals a prompt, three seeds
    assert (gain.ci_high - gain.ci_low) / 2 == pytest.approx(half, rel=0.15)
    assert gain.t_high - gain.t_low > gain.ci_high - gain.ci_low


def test_a_hard_prompt_that_seeds_share_is_counted_once() -> None:
    effect = np.random.default_rng(0).normal(size=(100, 1))  # the gain depends on the prompt, not on the seed
    zero = measure(np.zeros((100, 1)))
    one = stats.paired_difference([zero], [measure(effect)])
    three = stats.paired_difference([zero] * 3, [measure(effect)] * 3)
    assert (three.ci_low, three.ci_high) == pytest.approx((one.ci_low, one.ci_high))


def test_different_prompts_are_refused() -> None:
    other = stats.measure([f"q{i}" for i in range(5)], np.ones(5), np.ones(5), "color")
    with pytest.raises(ValueError, match="different prompts"):
        stats.paired_difference([measure(np.ones((5, 1)))], [other])
    with pytest.raises(ValueError, match="nothing to measure"):
        stats.measure([], np.ones(0), np.ones(0), "color")


@pytest.mark.parametrize(("df", "quantile"), [(1, 12.7062), (2, 4.30265), (10, 2.22814), (11, 2.20099), (30, 2.04227)])
def test_t_quantiles(df: int, quantile: float) -> None:
    assert stats.t975(df) == pytest.approx(quantile, abs=2e-4)


def test_t_interval() -> None:
    assert stats.t_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert all(math.isnan(end) for end in stats.t_interval([1.0]))
