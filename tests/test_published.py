"""Against published figures: bounds that hold for every pairing, tests against scipy, sizes against known formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from pneumonia.evaluation.scores import Scores
from pneumonia.evaluation.significance import (
    binomial_interval,
    binomial_test,
    bound_mcnemar,
    design_effect,
    holm,
    mcnemar,
    paired_size,
    unpaired_size,
)
from pneumonia.studies.power import compute_power
from pneumonia.studies.published_comparisons import PUBLISHED, compare_published, judge, read_share


@pytest.fixture(scope="module")
def scores() -> Scores:
    rng, frames = np.random.default_rng(1), []
    labels = np.repeat([0, 1], [234, 390])
    for model, skill in (("before", 0.6), ("net", 0.9)):
        for seed in (0, 1):
            noise = 0.9 * np.repeat(rng.normal(size=312), 2) + 0.44 * rng.normal(size=624)  # mostly the child's
            y_prob = 1 / (1 + np.exp(-(noise + skill * (2 * labels - 1))))
            columns = {"path": np.arange(624).astype(str), "patient_id": np.arange(624) // 2, "label": labels}
            frames.append(pd.DataFrame(columns).assign(split="test", model=model, seed=seed, y_prob=y_prob))
    return Scores.parse(pd.concat(frames, ignore_index=True))


def test_every_stated_figure_has_a_row(scores):
    table = compare_published(scores, "net", draws=50)
    stated = sum(bool(getattr(p, name)) for p in PUBLISHED for name in ("accuracy", "sensitivity", "specificity"))
    assert len(table) == stated + sum(bool(p.roc_auc) for p in PUBLISHED)
    row = table[(table["metric"] == "accuracy") & table["work"].str.contains("Kermany")].iloc[0]
    right, effect = round(row["ours"] * 624), row["design_effect"]
    assert 1.3 < effect < 2  # two films of every child, much alike
    assert row["p_one_sample"] == pytest.approx(binomial_test(right / effect, 624 / effect, 0.928), rel=1e-4)
    bounds = bound_mcnemar(right, round(0.928 * 624), 624, effect)
    assert row[["p_pairing_low", "p_pairing_high"]].tolist() == pytest.approx(bounds, rel=1e-4)
    assert (table["p_holm"].dropna() >= table["p_one_sample"].dropna()).all()
    tested = table["metric"] != "roc_auc"
    assert table.loc[~tested, ["p_pairing_high", "p_pairing_holm"]].isna().all(axis=None)
    expected = holm(table.loc[tested, "p_pairing_high"])
    assert table.loc[tested, "p_pairing_holm"].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_bounds_hold_for_every_pairing_of_two_small_classifiers():
    n, right_a, right_b = 12, 9, 6
    low, high = bound_mcnemar(right_a, right_b, n)
    rng, y_true = np.random.default_rng(0), np.ones(n)
    seen = set()
    for _ in range(400):
        a, b = (rng.permutation([1] * right + [0] * (n - right)) for right in (right_a, right_b))
        seen.add(round(mcnemar(y_true, a, b), 9))
    assert min(seen) == pytest.approx(low) and max(seen) == pytest.approx(high)


def test_films_of_one_child_count_as_fewer():
    right = np.random.default_rng(3).random(300) < 0.9
    twice = np.repeat(np.arange(300), 2)  # every child has two films, both right or both wrong: half as much is known
    assert design_effect(np.repeat(right, 2), twice) == pytest.approx(2)
    assert design_effect(right, np.arange(300)) == pytest.approx(1)
    assert design_effect(np.ones(600, bool), twice) == 1
    assert bound_mcnemar(560, 500, 600, effect=2) == pytest.approx(bound_mcnemar(280, 250, 300), rel=1e-9)


@pytest.mark.parametrize(("k", "n", "rate"), [(7, 20, 0.5), (0, 9, 0.5), (12, 12, 0.5), (10, 20, 0.5), (0, 0, 0.5)])
def test_the_exact_test_is_that_of_scipy_and_goes_on_between_whole_numbers(k, n, rate):
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


def test_equal_classifiers_cannot_be_told_apart():
    assert bound_mcnemar(600, 600, 624) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("difference", "low", "corrected", "words"),
    [
        (0.05, 0.001, 0.02, "above, however"),
        (-0.05, 0.001, 0.02, "below, however"),
        (0.01, 0.01, 0.4, "above, but undecided"),
        (0.01, 0.2, 0.9, "not distinguishable"),
    ],
)
def test_verdicts_turn_with_sign_and_bounds(difference, low, corrected, words):
    row = pd.Series({"difference": difference, "p_pairing_low": low, "p_pairing_holm": corrected})
    assert judge(row).startswith(words)


@pytest.mark.parametrize(("published", "words"), [(0.98, "inside"), (0.95, "outside our interval, which lies above")])
def test_areas_are_judged_by_the_interval(published, words):
    row = {"difference": 0.985 - published, "published": published, "ci_low": 0.97, "ci_high": 0.99}
    assert judge(pd.Series(row | {"p_pairing_low": np.nan, "p_pairing_holm": np.nan})).startswith(words)


def test_sizes_give_the_power_that_they_promise():
    """Simulated trials of the planned size find the difference about as often as planned."""
    n, rng, found = int(np.ceil(paired_size(0.05, 0.01))), np.random.default_rng(2), 0
    for _ in range(400):
        only_a, only_b, _ = rng.multinomial(n, [0.02, 0.03, 0.95])
        z = (only_b - only_a) / np.sqrt(only_a + only_b)
        found += abs(z) > 1.959964
    assert 0.73 < found / 400 < 0.87
    assert unpaired_size(0.95, 0.96) == pytest.approx(6745, abs=10)  # the textbook value per group


def test_power_is_cheapest_when_the_calls_are_paired(scores):
    table = compute_power(scores, "net").set_index("design")["n_radiographs"]
    assert table["unpaired"] > 0 and len(table) == 3
    effect = compute_power(scores, "net")["design_effect"]
    assert (effect >= 1).all() and effect.nunique() == 1


def test_figures_are_read_as_shares():
    assert read_share("91.1 ± 1.0") == pytest.approx(0.911)
    assert np.isnan(read_share(""))
