"""Against published figures: bounds that hold for every pairing, tests against scipy, sizes against known formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from pneumonia.metrics import holm, mcnemar
from pneumonia.published import PUBLISHED
from pneumonia.published_comparison import (
    bound_mcnemar,
    compare_published,
    compute_power,
    design_effect,
    judge,
    paired_size,
    read_share,
    unpaired_size,
)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    rng, frames = np.random.default_rng(1), []
    labels = np.repeat([0, 1], [234, 390])
    for model, skill in (("before", 1.2), ("net", 1.8)):
        for seed in (0, 1):
            y_prob = 1 / (1 + np.exp(-(rng.normal(size=624) + skill * (2 * labels - 1))))
            columns = {"path": np.arange(624).astype(str), "patient_id": np.arange(624) // 2, "label": labels}
            frames.append(pd.DataFrame(columns).assign(split="test", model=model, seed=seed, y_prob=y_prob))
    return pd.concat(frames, ignore_index=True)


def test_every_stated_figure_has_a_row(predictions):
    table = compare_published(predictions, "net", draws=50)
    stated = sum(bool(getattr(p, name)) for p in PUBLISHED for name in ("accuracy", "sensitivity", "specificity"))
    assert len(table) == stated + sum(bool(p.roc_auc) for p in PUBLISHED)
    row = table[(table["metric"] == "accuracy") & table["work"].str.contains("Kermany")].iloc[0]
    n = round(624 / row["design_effect"])
    assert 200 < n <= 624
    right = round(row["ours"] * n)
    assert row["p_one_sample"] == pytest.approx(binomtest(right, n, 0.928).pvalue, rel=1e-4)
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
    rng = np.random.default_rng(3)
    right = np.repeat(rng.random(300) < 0.9, 2)  # every child has two films, both right or both wrong
    draws = rng.multinomial(300, [1 / 300] * 300, size=2000).repeat(2, axis=1)
    rate = right.mean()
    assert design_effect(rate, (draws * right).sum(axis=1) / draws.sum(axis=1), 600) == pytest.approx(2, rel=0.1)
    assert design_effect(1.0, np.ones(50), 600) == 1


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


def test_power_is_cheapest_when_the_calls_are_paired(predictions):
    table = compute_power(predictions, "net", draws=50).set_index("design")["n_radiographs"]
    assert table["unpaired"] > 0 and len(table) == 3
    effect = compute_power(predictions, "net", draws=50)["design_effect"]
    assert (effect >= 1).all() and effect.nunique() == 1


def test_figures_are_read_as_shares():
    assert read_share("91.1 ± 1.0") == pytest.approx(0.911)
    assert np.isnan(read_share(""))
