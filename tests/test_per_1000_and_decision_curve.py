"""Per 1,000 children and decision curve: counts by hand, net benefit by its definition, costs at given prices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from pneumonia.config import PneumoniaError
from pneumonia.evaluation.probability import rebase
from pneumonia.evaluation.scores import Scores
from pneumonia.studies.decision_curve import compute_decision_curve, find_useful_range
from pneumonia.studies.per_1000 import (
    CHILDREN,
    PREVALENCES,
    ROWS,
    Prices,
    compute_per_1000,
    plot_children,
    price_operating_points,
)

RNG = np.random.default_rng(5)
LABELS = np.repeat([0, 1], [100, 150])
SCORES = np.round(1 / (1 + np.exp(-(RNG.normal(size=250) + 3.0 * LABELS - 1.5))), 6)


@pytest.fixture(scope="module")
def scores() -> Scores:
    frames = []
    for split in ("validation", "test"):
        for seed, shift in ((0, 0.0), (1, 0.01)):
            y_prob = np.clip(SCORES + shift, 0, 1)
            columns = {"path": np.arange(250).astype(str), "patient_id": np.arange(250) // 2, "label": LABELS}
            frames.append(pd.DataFrame(columns).assign(split=split, model="net", seed=seed, y_prob=y_prob))
    return Scores.parse(pd.concat(frames, ignore_index=True))


@pytest.fixture(scope="module")
def per_1000(scores) -> pd.DataFrame:
    return compute_per_1000(scores, "net", draws=100)


def test_per_1000_is_counted_by_hand(per_1000):
    ensemble = np.clip(SCORES + 0.005, 0, 1)
    missed, alarms = (ensemble[LABELS == 1] < 0.5).mean(), (ensemble[LABELS == 0] >= 0.5).mean()
    rows = per_1000.query("operating_point == 'balanced' and prevalence == 0.15").set_index("quantity")["value"]
    assert rows["missed"] == pytest.approx(150 * missed, abs=1e-5)
    assert rows["needlessly_treated"] == pytest.approx(850 * alarms, abs=1e-5)
    assert rows["referred"] == pytest.approx(150 * (1 - missed) + 850 * alarms, abs=1e-5)
    assert rows["ill_among_referred"] == pytest.approx(100 * 150 * (1 - missed) / rows["referred"], abs=1e-4)


def test_every_value_lies_in_its_interval(per_1000):
    assert len(per_1000) == 3 * len(PREVALENCES) * 4
    assert (per_1000["ci_low"] <= per_1000["value"] + 1e-6).all()
    assert (per_1000["value"] <= per_1000["ci_high"] + 1e-6).all()


@pytest.mark.parametrize("prevalence", PREVALENCES)
@pytest.mark.parametrize(("missed", "alarms"), [(0, 0), (7, 93), (40, 375)])
def test_every_child_is_one_mark(prevalence, missed, alarms):
    ill = round(CHILDREN * prevalence)
    groups = [group.get_offsets().data for group in plot_children(ill, missed, alarms).collections]
    assert [len(group) for group in groups] == [missed, ill - missed, alarms, CHILDREN - ill - alarms]
    places = np.concatenate(groups)
    assert len(np.unique(places, axis=0)) == CHILDREN and set(places[:, 1]) == set(range(ROWS))
    plt.close("all")


def test_net_benefit_is_that_of_vickers_and_elkin(scores):
    curve = compute_decision_curve(scores, "net", draws=20)
    ensemble = np.clip(SCORES + 0.005, 0, 1)
    cut = float(rebase(0.2, 0.5, reference=0.3))
    hits, alarms = (ensemble[LABELS == 1] >= cut).mean(), (ensemble[LABELS == 0] >= cut).mean()
    row = curve.query("strategy == 'net' and prevalence == 0.3 and threshold_probability == 0.2")["net_benefit"].item()
    assert row == pytest.approx(0.3 * hits - 0.7 * alarms * 0.25, abs=1e-6)
    treat_all = curve.query("strategy == 'treat all' and prevalence == 0.3").set_index("threshold_probability")
    assert treat_all.loc[0.3, "net_benefit"] == pytest.approx(0, abs=1e-9)  # the two cross at the prevalence
    assert (curve.query("strategy == 'treat none'")["net_benefit"] == 0).all()


def test_the_useful_range_is_where_the_interval_beats_both():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    ahead = pd.DataFrame({"strategy": "net", "threshold_probability": p, "ci_low": [0.1, 0.2, 0.2, -0.1]})
    treat_all = ahead.assign(strategy="treat all", ci_low=[0.2, 0.1, 0.0, -0.2])
    curve = pd.concat([ahead, treat_all, ahead.assign(strategy="treat none", ci_low=0.0)]).assign(prevalence=0.3)
    assert find_useful_range(curve, 0.3) == (0.2, 0.3)
    assert np.isnan(find_useful_range(curve.assign(ci_low=0.0), 0.3)).all()


def test_prices_decide_which_point_is_cheapest(per_1000):
    missing_is_dear = price_operating_points(per_1000, 0.3, Prices(1e6, 1.0, 1.0))
    treating_is_dear = price_operating_points(per_1000, 0.3, Prices(1.0, 1e6, 1.0))
    assert missing_is_dear.iloc[0]["operating_point"] == "no model: treat all"
    assert treating_is_dear.iloc[0]["operating_point"] == "no model: treat none"
    assert len(missing_is_dear) == 5
    row = missing_is_dear.set_index("operating_point").loc["balanced"]
    assert row["cost"] == pytest.approx(1e6 * row["missed"] + row["needlessly_treated"] + row["referred"])


def test_an_unknown_prevalence_is_an_error_that_lists_the_known_ones(per_1000):
    with pytest.raises(PneumoniaError, match=r"no prevalence of 40 %; it has 5 %, 15 %, 30 %, 62.5 %"):
        price_operating_points(per_1000, 0.4)
