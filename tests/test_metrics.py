"""Metrics against scikit-learn and scipy, intervals against simulated truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, norm
from sklearn import metrics as sklearn_metrics

from pneumonia.config import PneumoniaError
from pneumonia.evaluation.metrics import (
    ECE_BINS,
    THRESHOLD_METRICS,
    accuracy,
    apply_threshold,
    average_precision,
    balanced_ece,
    bootstrap_weights,
    brier,
    choose_threshold,
    draw_seeds,
    ece,
    group_by_size,
    percentile_interval,
    roc_auc,
    size_adjusted_auc,
    threshold_metrics,
)
from pneumonia.evaluation.significance import holm, mcnemar, paired_auc_difference, paired_difference

SKLEARN_SCORE_METRICS = {
    roc_auc: sklearn_metrics.roc_auc_score,
    average_precision: sklearn_metrics.average_precision_score,
    brier: sklearn_metrics.brier_score_loss,
}


def random_scores(seed, n=300, decimals=16):
    """Overlapping scores of both classes; few decimals give many ties."""
    rng = np.random.default_rng(seed)
    y_true = np.r_[0, 1, rng.random(n - 2) < 0.6].astype(int)
    return y_true, np.clip(rng.normal(0.35 + 0.2 * y_true, 0.25), 0, 1).round(decimals)


def random_weights(kind, n, seed=0):
    rng = np.random.default_rng(seed)
    return {"none": None, "counts": rng.integers(0, 4, n), "fractions": rng.random(n)}[kind]


def sklearn_threshold_metrics(y_true, y_pred, weights):
    options = {"sample_weight": weights}
    return {
        "accuracy": sklearn_metrics.accuracy_score(y_true, y_pred, **options),
        "sensitivity": sklearn_metrics.recall_score(y_true, y_pred, **options),
        "specificity": sklearn_metrics.recall_score(y_true, y_pred, pos_label=0, **options),
        "ppv": sklearn_metrics.precision_score(y_true, y_pred, **options),
        "npv": sklearn_metrics.precision_score(y_true, y_pred, pos_label=0, **options),
        "f1": sklearn_metrics.f1_score(y_true, y_pred, **options),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(y_true, y_pred, **options),
    }


@pytest.mark.parametrize("kind", ["none", "counts", "fractions"])
@pytest.mark.parametrize("decimals", [16, 1])
@pytest.mark.parametrize("metric", SKLEARN_SCORE_METRICS)
def test_score_metrics_agree_with_sklearn(metric, decimals, kind):
    for seed in range(5):
        y_true, y_prob = random_scores(seed, decimals=decimals)
        weights = random_weights(kind, len(y_true), seed)
        expected = SKLEARN_SCORE_METRICS[metric](y_true, y_prob, sample_weight=weights)
        assert metric(y_true, y_prob, weights) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("kind", ["none", "counts", "fractions"])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_threshold_metrics_agree_with_sklearn(threshold, kind):
    y_true, y_prob = random_scores(1, decimals=1)  # ties at the threshold too
    weights = random_weights(kind, len(y_true))
    expected = sklearn_threshold_metrics(y_true, y_prob >= threshold, weights)
    found = threshold_metrics(y_true, y_prob, threshold, weights)
    assert list(found) == list(THRESHOLD_METRICS) == list(expected)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [*SKLEARN_SCORE_METRICS, ece, accuracy])
def test_all_draws_at_once_equal_one_by_one(metric):
    y_true, y_prob = random_scores(2, decimals=2)
    weights = bootstrap_weights(np.arange(len(y_true)) // 3, 20)
    expected = [metric(y_true, y_prob, row) for row in weights]
    assert metric(y_true, y_prob, weights) == pytest.approx(expected, abs=1e-12)


def test_a_weight_counts_like_repeated_rows():
    y_true, y_prob = random_scores(3, decimals=1)
    counts = random_weights("counts", len(y_true))
    repeated = np.repeat(y_true, counts), np.repeat(y_prob, counts)
    for metric in (*SKLEARN_SCORE_METRICS, ece, accuracy):
        assert metric(y_true, y_prob, counts) == pytest.approx(metric(*repeated), abs=1e-12)


def size_adjusted_loop(y_true, y_prob, pixels, weights):
    """The definition: sklearn's ROC AUC within fifths, weighted by their pairs."""
    edges, won, pairs = np.quantile(pixels, [0.2, 0.4, 0.6, 0.8]), 0.0, 0.0
    fifth = (pixels[:, None] > edges).sum(axis=1)
    for k in range(5):
        inside = (fifth == k) & (weights > 0)
        if len(np.unique(y_true[inside])) == 2:
            sums = [weights[inside & (y_true == label)].sum() for label in (0, 1)]
            auc = sklearn_metrics.roc_auc_score(y_true[inside], y_prob[inside], sample_weight=weights[inside])
            won, pairs = won + auc * np.prod(sums), pairs + np.prod(sums)
    return won / pairs


def test_size_adjusted_auc_equals_the_definition_written_as_a_loop():
    for seed, decimals in ((0, 16), (1, 1)):
        y_true, y_prob = random_scores(seed, decimals=decimals)
        pixels = np.random.default_rng(seed).integers(100, 160, len(y_true)) - 20 * y_true  # ties, and size tells
        weights = bootstrap_weights(np.arange(len(y_true)) // 3, 20)
        ones = np.ones(len(y_true))
        expected = size_adjusted_loop(y_true, y_prob, pixels, ones)
        assert size_adjusted_auc(y_true, y_prob, pixels) == pytest.approx(expected, abs=1e-12)
        found = size_adjusted_auc(y_true, y_prob, pixels, weights.astype(np.int32))
        assert found == pytest.approx(
            [size_adjusted_loop(y_true, y_prob, pixels, w) for w in weights.astype(float)], abs=1e-12
        )


def test_a_model_of_nothing_but_size_is_no_better_than_chance_after_adjustment():
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, 2000)
    pixels = rng.normal(10 - 2 * y_true, 1)
    y_prob = norm.cdf(8 - np.round(pixels))
    assert roc_auc(y_true, y_prob) > 0.85
    assert size_adjusted_auc(y_true, y_prob, pixels) < 0.7
    fifths = group_by_size(pixels, 5)
    assert size_adjusted_auc(y_true, (4 - fifths) / 4, pixels) == 0.5


def test_unknown_sizes_are_left_out():
    y_true, y_prob = random_scores(0)
    pixels = np.random.default_rng(0).integers(100, 160, len(y_true)).astype(float)
    pixels[::3] = np.nan
    known = ~np.isnan(pixels)
    expected = size_adjusted_auc(y_true[known], y_prob[known], pixels[known])
    assert size_adjusted_auc(y_true, y_prob, pixels) == pytest.approx(expected)
    assert group_by_size([5.0, np.nan, 1.0, 3.0], 3).tolist() == [2, -1, 0, 1]
    nothing = np.full(len(y_true), np.nan)
    assert math.isnan(size_adjusted_auc(y_true, y_prob, nothing))
    assert np.isnan(size_adjusted_auc(y_true, y_prob, nothing, np.ones((4, len(y_true))))).tolist() == [True] * 4


def test_ece_by_hand():
    # Bin of 0.9: 3 of 4 sick, gap 0.15; bin of 0.2 (edges 0.2 and 0.1333): 1 of 2 sick, gap 0.3.
    y_true, y_prob = [1, 1, 1, 0, 1, 0], [0.9, 0.9, 0.9, 0.9, 0.2, 0.2]
    assert ece(y_true, y_prob) == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.3)


def test_an_edge_belongs_to_the_bin_below():
    # 0.4 = 6/15 shares a bin with 0.35, so the gaps +0.6 and -0.35 cancel in part; 0.45 would lie in the next one.
    assert ece([1, 0], [0.4, 0.35]) == pytest.approx((0.6 - 0.35) / 2)
    assert ece([1, 0], [0.4, 0.45]) == pytest.approx((0.6 + 0.45) / 2)


def test_ece_equals_the_definition_written_as_a_loop():
    y_true, y_prob = random_scores(4, decimals=3)
    total = 0.0
    for k in range(ECE_BINS):
        inside = (y_prob > k / ECE_BINS) & (y_prob <= (k + 1) / ECE_BINS) | ((k == 0) & (y_prob == 0))
        if inside.any():
            total += inside.mean() * abs(y_true[inside].mean() - y_prob[inside].mean())
    assert ece(y_true, y_prob) == pytest.approx(total, abs=1e-12)


def test_threshold_itself_is_called_positive():
    assert apply_threshold([0.49, 0.5, 0.51], 0.5).tolist() == [False, True, True]


def test_undefined_values_are_nan():
    nothing_called = threshold_metrics([0, 1, 1], [0.1, 0.2, 0.3])
    assert math.isnan(nothing_called["ppv"]) and math.isnan(nothing_called["f1"])
    assert nothing_called["npv"] == pytest.approx(1 / 3) and nothing_called["sensitivity"] == 0
    everything_called = threshold_metrics([0, 1, 1], [0.7, 0.8, 0.9])
    assert math.isnan(everything_called["npv"]) and everything_called["ppv"] == pytest.approx(2 / 3)
    all_calls_wrong = threshold_metrics([0, 1], [0.9, 0.1])
    assert all_calls_wrong["f1"] == 0


def test_draws_without_one_class_are_nan_and_ignored():
    weights = np.array([[1, 1, 1, 1], [0, 0, 1, 2], [2, 1, 0, 0]])
    y_true, y_prob = [0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9]
    assert np.isnan(roc_auc(y_true, y_prob, weights)).tolist() == [False, True, True]
    assert np.isnan(threshold_metrics(y_true, y_prob, weights=weights)["specificity"]).tolist() == [False, True, False]
    assert np.isnan(average_precision(y_true, y_prob, weights)).tolist() == [False, False, True]
    assert percentile_interval([np.nan, 2.0, 2.0]) == (2.0, 2.0)
    assert all(math.isnan(value) for value in percentile_interval([np.nan, np.nan]))


@pytest.mark.parametrize("metric", [*SKLEARN_SCORE_METRICS, ece, threshold_metrics, choose_threshold])
@pytest.mark.parametrize(
    ("y_true", "y_prob", "message"),
    [
        ([], [], "no radiographs"),
        ([1, 1], [0.2, 0.3], "only the class PNEUMONIA"),
        ([0, 0], [0.2, 0.3], "only the class NORMAL"),
        ([0, 2], [0.2, 0.3], "labels must be 0 or 1"),
        ([0, 1], [0.2, 1.01], r"y_prob must lie in \[0, 1\]"),
        ([0, 1], [-0.01, 0.5], r"y_prob must lie in \[0, 1\]"),
        ([0, 1], [0.2, np.nan], "without NaN"),
        ([0, 1], [0.2, 0.3, 0.4], "one per radiograph"),
    ],
)
def test_bad_input_is_one_clear_line(metric, y_true, y_prob, message):
    with pytest.raises(PneumoniaError, match=message) as error:
        metric(y_true, y_prob)
    assert "\n" not in str(error.value)


def test_chosen_threshold_is_the_best_of_all():
    for seed in range(5):
        y_true, y_prob = random_scores(seed, n=80, decimals=2)
        grid = np.linspace(0, 1, 2001)
        reached = [threshold_metrics(y_true, y_prob, t)["balanced_accuracy"] for t in grid]
        chosen = threshold_metrics(y_true, y_prob, choose_threshold(y_true, y_prob))["balanced_accuracy"]
        assert chosen == pytest.approx(max(reached), abs=1e-12)


@pytest.mark.parametrize(
    ("y_true", "y_prob", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9], 0.3),  # midway between the neighbours 0.2 and 0.4
        ([0, 1, 0, 1], [0.1, 0.2, 0.7, 0.8], 0.75),  # 0.15 and 0.75 are equally good; 0.75 is nearer to 0.5
        ([0, 1, 0, 1], [0.2, 0.4, 0.6, 0.8], 0.3),  # 0.3 and 0.7 are equally near too: the lower
        ([0, 1], [1.0, 1.0], 0.5),  # the majority baseline has no other
        ([0, 0, 1], [0.74, 0.74, 0.74], 0.37),  # all are still predicted positive
        ([1, 0], [0.3, 0.7], 0.15),  # worse than chance: better to predict PNEUMONIA for all
    ],
)
def test_chosen_threshold_by_hand(y_true, y_prob, expected):
    assert choose_threshold(y_true, y_prob) == pytest.approx(expected, abs=1e-12)


def test_bootstrap_draws_whole_patients():
    patients = np.array(["b", "a", "b", "c", "a", "b"])
    weights = bootstrap_weights(patients, 500, seed=1)
    first_rows = np.array([1, 0, 3])  # a, b, c
    assert weights.shape == (500, 6)
    assert (weights[:, first_rows].sum(axis=1) == 3).all()  # as many patients as there are
    assert (weights[:, [0, 0, 1]] == weights[:, [2, 5, 4]]).all()  # with all of their radiographs
    assert weights[:, first_rows].mean(axis=0) == pytest.approx(1, abs=0.12)
    assert weights.min() == 0 and weights.max() == 3


def test_bootstrap_depends_on_the_seed_and_not_on_the_order_of_rows():
    patients = np.array(["b", "a", "b", "c", "a", "b"])
    weights = bootstrap_weights(patients, 50, seed=1)
    order = np.random.default_rng(0).permutation(6)
    assert (bootstrap_weights(patients[order], 50, seed=1) == weights[:, order]).all()
    assert (bootstrap_weights(patients, 50, seed=2) != weights).any()


def test_drawn_seeds_are_always_the_same_and_spread_evenly():
    drawn = draw_seeds(5, 2000)
    assert drawn.shape == (2000, 5) and (drawn == draw_seeds(5, 2000)).all()
    assert np.bincount(drawn.ravel(), minlength=5) == pytest.approx([2000] * 5, rel=0.05)
    assert (draw_seeds(1, 10) == 0).all()


@pytest.mark.parametrize(("patients", "draws"), [([], 10), (["a"], 0)])
def test_bootstrap_of_nothing_is_an_error(patients, draws):
    with pytest.raises(PneumoniaError, match="at least one"):
        bootstrap_weights(patients, draws)


def clustered_scores(seed, patients=110, shift=1.5, shared=0.8):
    """Binormal scores where radiographs of one patient resemble each other (`shared`: their part of the variance)."""
    rng = np.random.default_rng(seed)
    sick = rng.random(patients) < 0.5
    ids = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    noise = rng.normal(size=patients)[ids] * shared**0.5 + rng.normal(size=len(ids)) * (1 - shared) ** 0.5
    return ids, sick[ids].astype(int), norm.cdf(noise + shift * sick[ids] - shift / 2)


def test_intervals_cover_the_truth_and_need_the_patients():
    shift = 1.5
    truth = {"roc_auc": norm.cdf(shift / 2**0.5), "sensitivity": norm.cdf(shift / 2)}
    hits = {name: [] for name in truth}
    widths = {"patients": [], "radiographs": []}
    for seed in range(200):
        ids, y_true, y_prob = clustered_scores(seed, shift=shift)
        weights = bootstrap_weights(ids, 300, seed)
        samples = {
            "roc_auc": roc_auc(y_true, y_prob, weights),
            "sensitivity": threshold_metrics(y_true, y_prob, 0.5, weights)["sensitivity"],
        }
        for name, values in samples.items():
            low, high = percentile_interval(values)
            hits[name].append(low <= truth[name] <= high)
        widths["patients"].append(np.diff(percentile_interval(samples["roc_auc"])))
        if seed < 50:
            naive = roc_auc(y_true, y_prob, bootstrap_weights(np.arange(len(ids)), 300, seed))
            widths["radiographs"].append(np.diff(percentile_interval(naive)))
    for name, covered in hits.items():
        assert 0.90 <= np.mean(covered) <= 0.99, (name, np.mean(covered))
    assert np.mean(widths["radiographs"]) < 0.8 * np.mean(widths["patients"])


def test_paired_difference_sees_what_separate_intervals_hide():
    rng = np.random.default_rng(0)
    ids, y_true, prob_a = clustered_scores(0)
    prob_b = np.clip(prob_a + 0.06 * (2 * y_true - 1) + rng.normal(0, 0.02, len(ids)), 0, 1)
    found = paired_auc_difference(y_true, prob_a, prob_b, ids, 500)
    assert found.difference == pytest.approx(roc_auc(y_true, prob_b) - roc_auc(y_true, prob_a))
    assert 0 < found.ci_low < found.difference < found.ci_high
    assert found.p_value == pytest.approx(2 / 501)  # no draw beyond 0: the smallest there is
    swapped = paired_auc_difference(y_true, prob_b, prob_a, ids, 500)
    assert swapped == pytest.approx((-found.difference, -found.ci_high, -found.ci_low, found.p_value))
    separate = percentile_interval(roc_auc(y_true, prob_a, bootstrap_weights(ids, 500)))
    assert found.ci_high - found.ci_low < separate[1] - separate[0]


def test_paired_difference_of_equal_models_is_nothing():
    ids, y_true, y_prob = clustered_scores(1)
    assert paired_difference(accuracy, y_true, y_prob, y_prob, ids, 200) == (0, 0, 0, 1)


def test_paired_p_values_are_uniform_when_models_are_equally_good():
    p_values = []
    for seed in range(100):
        ids, y_true, prob_a = clustered_scores(seed)
        _, _, noise = clustered_scores(1000 + seed)
        noise = np.resize(noise, len(ids)) - 0.5
        prob_b = np.clip(prob_a + 0.3 * noise, 0, 1)
        prob_a = np.clip(prob_a + 0.3 * np.roll(noise, 7), 0, 1)
        p_values.append(paired_auc_difference(y_true, prob_a, prob_b, ids, 200, seed).p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.12
    assert 0.3 < np.median(p_values) < 0.7


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (3, 12), (12, 3), (7, 7), (40, 21), (900, 700)])
def test_mcnemar_agrees_with_scipy(only_a, only_b):
    y_true = np.ones(only_a + only_b + 5, dtype=int)
    pred_a = np.r_[np.ones(only_a), np.zeros(only_b), [1, 1, 1, 0, 0]]
    pred_b = np.r_[np.zeros(only_a), np.ones(only_b), [1, 1, 1, 0, 0]]  # the last five agree and do not count
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(y_true, pred_a, pred_b, np.arange(len(y_true))) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_needs_the_same_radiographs():
    with pytest.raises(PneumoniaError, match="same radiographs"):
        mcnemar([0, 1], [0, 1], [0, 1, 1], [0, 1])
    with pytest.raises(PneumoniaError, match="same radiographs"):
        mcnemar([0, 1], [0, 1], [0, 1], [0])


def test_mcnemar_exchanges_the_models_within_each_child():
    """Sums per child of 3, 2 and -1: of the 8 ways to turn their signs, the sum of 4 or more has 2 a side."""
    gains, patients = [1, 1, 1, 1, 1, -1, 0], [0, 0, 0, 1, 1, 2, 2]
    y_true = np.ones(7, dtype=int)
    pred_a, pred_b = [int(gain < 0) for gain in gains], [int(gain > 0) for gain in gains]
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    expected = np.mean(np.abs(signs @ [3, 2, 1]) >= 4)
    assert mcnemar(y_true, pred_a, pred_b, patients) == pytest.approx(expected)
    doubled = mcnemar(np.ones(40), np.repeat([0, 1], [30, 10]), np.repeat([1, 0], [30, 10]), np.arange(40) // 2)
    assert doubled == pytest.approx(binomtest(5, 20).pvalue), (
        "two films of a child that agree are one piece of evidence"
    )


def test_mcnemar_approaches_the_test_of_obuchowski():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(400), 3)
    pred_a = (rng.random(1200) < 0.80).astype(int)
    shared = np.repeat(rng.random(400) < 0.2, 3)  # children in whom b is right about every film
    pred_b = np.where(shared, 1, (rng.random(1200) < 0.78).astype(int))
    sums = np.bincount(patients, pred_b - pred_a)
    expected = chi2.sf(sums.sum() ** 2 / (sums**2).sum(), df=1)
    assert mcnemar(np.ones(1200), pred_a, pred_b, patients) == pytest.approx(expected, rel=0.15)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1: 0.04, 0.06, 0.06 and 0.5, never below the one before.
    assert holm([0.03, 0.5, 0.01, 0.02]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.4, 0.03, 0.025]) == pytest.approx([0.4, 0.075, 0.075])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])  # 1.2 is cut at 1
    assert holm([]).tolist() == []


@pytest.mark.parametrize("p_values", [[0.1, np.nan], [1.2], [-0.1]])
def test_holm_refuses_what_is_no_p_value(p_values):
    with pytest.raises(PneumoniaError, match=r"\[0, 1\]"):
        holm(p_values)


def test_a_draw_without_one_of_the_classes_has_no_balanced_error():
    y_true, y_prob = np.array([1, 1, 0]), np.array([0.8, 0.6, 0.4])
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]])
    values = balanced_ece(y_true, y_prob, weights)
    assert np.isnan(values[1])
    assert values[0] == pytest.approx(ece([1, 1, 0, 0], [0.8, 0.6, 0.4, 0.4]))
