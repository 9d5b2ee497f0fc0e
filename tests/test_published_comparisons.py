"""Published comparisons: a row for every published figure, and verdicts that follow from the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from invented_results import make_scores

from pneumonia.evaluation.scores import Scores
from pneumonia.evaluation.significance import (
    binomial_test,
    bound_mcnemar,
    holm,
)
from pneumonia.studies.published_comparisons import PUBLISHED, compare_published, judge, read_share


@pytest.fixture(scope="module")
def scores() -> Scores:
    return make_scores()


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


def test_figures_are_read_as_shares():
    assert read_share("91.1 ± 1.0") == pytest.approx(0.911)
    assert np.isnan(read_share(""))
