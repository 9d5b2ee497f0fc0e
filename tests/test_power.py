"""Power: how many radiographs three designs need, and how many films a silent pilot."""

from __future__ import annotations

import pytest
from invented_results import make_scores

from pneumonia.evaluation.estimate import Estimate
from pneumonia.evaluation.scores import Scores
from pneumonia.evaluation.significance import binomial_interval
from pneumonia.studies.power import MARGIN, compute_power, size_pilot


@pytest.fixture(scope="module")
def scores() -> Scores:
    return make_scores()


def test_power_is_cheapest_when_the_calls_are_paired(scores):
    table = compute_power(scores, "net").set_index("design")["n_radiographs"]
    assert table["unpaired"] > 0 and len(table) == 3
    effect = compute_power(scores, "net")["design_effect"]
    assert (effect >= 1).all() and effect.nunique() == 1


def test_the_pilot_has_enough_children_of_both_kinds():
    """By hand: 1.96^2 x 0.9 x 0.1 / 0.03^2 = 384.1 with pneumonia, 1.96^2 x 0.8 x 0.2 / 0.03^2 = 682.9 normal ones."""
    sensitivity, specificity = Estimate(0.95, 0.9, 0.98), Estimate(0.85, 0.8, 0.9)
    assert size_pilot(sensitivity, specificity, 0.05)["films"] == "7,690"  # 384.1 / 0.05: pneumonias are rare
    few = size_pilot(sensitivity, specificity, 0.30)
    assert (few["films"], few["pneumonia"], few["normal"]) == ("1,290", "387", "903")  # 384.1 / 0.3
    assert size_pilot(sensitivity, specificity, 0.625)["films"] == "1,830"  # 682.9 / 0.375: now the normal ones


def test_the_pilot_measures_to_its_margin():
    """The exact interval of a rate on so many children is about as wide as was asked for."""
    pilot = size_pilot(Estimate(0.97, 0.94, 0.99), Estimate(0.9, 0.85, 0.93), 0.5)
    for n, rate in ((pilot["pneumonia"], 0.94), (pilot["normal"], 0.85)):
        low, high = binomial_interval(rate * int(n), int(n))
        assert (high - low) / 2 < 1.1 * MARGIN
