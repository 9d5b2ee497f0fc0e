"""Significance: tests and intervals against scipy, bounds over every pairing, sizes against known formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from pneumonia.evaluation.significance import (
    binomial_interval,
    binomial_test,
    bound_mcnemar,
    design_effect,
    mcnemar,
    paired_size,
    unpaired_size,
)


def test_the_bounds_hold_for_every_pairing_of_two_small_classifiers():
    n, right_a, right_b = 12, 9, 6
    low, high = bound_mcnemar(right_a, right_b, n)
    rng, y_true = np.random.default_rng(0), np.ones(n)
    seen = set()
    for _ in range(400):
        a, b = (rng.permutation([1] * right + [0] * (n - right)) for right in (right_a, right_b))
        seen.add(round(mcnemar(y_true, a, b, np.arange(n)), 9))
    assert min(seen) == pytest.approx(low) and max(seen) == pytest.approx(high)


def test_films_of_one_child_count_as_fewer():
    right = np.random.default_rng(3).random(300) < 0.9
    twice = np.repeat(np.arange(300), 2)  # every child has two films, both right or both wrong: half as much is known
    assert design_effect(np.repeat(right, 2), twice) == pytest.approx(2)
    assert design_effect(right, np.arange(300)) == pytest.approx(1)
    assert design_effect(np.ones(600, bool), twice) == 1
    assert bound_mcnemar(560, 500, 600, effect=2) == pytest.approx(bound_mcnemar(280, 250, 300), rel=1e-9)


@pytest.mark.parametrize(("k", "n", "rate"), [(7, 20, 0.5), (0, 9, 0.5), (12, 12, 0.5), (10, 20, 0.5), (0, 0, 0.5)])
def test_the_exact_test_is_that_of_scipy_and_interpolates_between_whole_numbers(k, n, rate):
    expected = binomtest(k, n, rate).pvalue if n else 1.0
    assert binomial_test(k, n, rate) == pytest.approx(expected)
    if 0 < k < n / 2:
        assert binomial_test(k - 0.5, n, rate) < expected < binomial_test(k + 0.5, n, rate)


@pytest.mark.parametrize("k", [0, 3, 20])
def test_intervals_of_rates_are_those_of_scipy(k):
    exact = binomtest(k, 20).proportion_ci(method="exact")
    assert binomial_interval(k, 20) == pytest.approx((exact.low, exact.high))
    low, high = binomial_interval([k / 2, k], [10, 20])
    assert (low[1], high[1]) == pytest.approx((exact.low, exact.high))
    low, high = low[0], high[0]
    assert low <= exact.low and exact.high <= high  # half as much is known


def test_equal_classifiers_are_not_distinguishable():
    assert bound_mcnemar(600, 600, 624) == (1.0, 1.0)


def test_sizes_have_the_planned_power():
    """Simulated trials of the planned size find the difference about as often as planned."""
    n, rng, found = int(np.ceil(paired_size(0.05, 0.01))), np.random.default_rng(2), 0
    for _ in range(400):
        only_a, only_b, _ = rng.multinomial(n, [0.02, 0.03, 0.95])
        z = (only_b - only_a) / np.sqrt(only_a + only_b)
        found += abs(z) > 1.959964
    assert 0.73 < found / 400 < 0.87
    assert unpaired_size(0.95, 0.96) == pytest.approx(6745, abs=10)  # the textbook value per group
