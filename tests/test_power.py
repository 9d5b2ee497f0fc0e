"""Power: how many radiographs three designs need."""

from __future__ import annotations

import pytest
from invented_results import make_scores

from pneumonia.evaluation.scores import Scores
from pneumonia.studies.power import compute_power


@pytest.fixture(scope="module")
def scores() -> Scores:
    return make_scores()


def test_power_is_cheapest_when_the_calls_are_paired(scores):
    table = compute_power(scores, "net").set_index("design")["n_radiographs"]
    assert table["unpaired"] > 0 and len(table) == 3
    effect = compute_power(scores, "net")["design_effect"]
    assert (effect >= 1).all() and effect.nunique() == 1
