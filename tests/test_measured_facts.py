"""Sentences of the measurements: numbers of their tables, words that turn with them, and a word for what is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from measured import make_learning_curve, make_masking, make_pareto, make_robustness, make_three_class

from pneumonia.config import simulated_run
from pneumonia.measured_facts import SENTENCES, measured_facts
from pneumonia.results import Results

FINAL = "robust_cnn"


def make_results(measured: dict[str, pd.DataFrame]) -> Results:
    empty = pd.DataFrame()
    return Results(simulated_run(None), {"final_model": FINAL}, *[empty] * 7, measured)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    run = simulated_run(None)
    power = {"accuracy_a": 0.95, "accuracy_b": 0.96, "n_test": 624}
    curve = [
        {"strategy": name, "prevalence": 0.3, "threshold_probability": p, "ci_low": low}
        for p in (0.1, 0.2)
        for name, low in ((FINAL, 0.2), ("treat all", 0.1), ("treat none", 0.0))
    ]
    published = [
        {"work": work, "metric": "accuracy", "verdict": verdict}
        for work, verdict in (
            ("A", "above, however the errors pair"),
            ("B", "above, but undecided without their calls"),
        )
    ]
    return {
        "robustness": make_robustness(run),
        "masking": make_masking(run),
        "learning_curve": make_learning_curve(),
        "pareto": make_pareto(),
        "three_class": make_three_class(),
        "power": pd.DataFrame([{"design": "paired", "n_radiographs": 1504} | power]),
        "decision_curve": pd.DataFrame(curve),
        "published_comparisons": pd.DataFrame(published),
    }


@pytest.fixture(scope="module")
def facts(tables) -> dict[str, str]:
    return measured_facts(make_results(tables))


def test_every_sentence_is_there_with_and_without_measurements(facts):
    missing = measured_facts(make_results({}))
    assert set(facts) == set(missing) == {f"{key}.sentence" for key in SENTENCES}
    assert all(text.startswith("Not measured in this run (`python -m pneumonia ") for text in missing.values())
    assert not any("Not measured" in text or "nan" in text for text in facts.values())
    assert all(text.endswith(".") for text in facts.values())


def test_the_worst_case_is_that_of_the_table(facts, tables):
    rows = tables["robustness"].query("model == @FINAL and metric == 'accuracy' and 1 <= severity <= 3")
    worst = rows.loc[rows["value"].idxmin()]
    assert f"{worst['condition']} at severity 3: {100 * worst['value']:.1f} %" in facts["robustness.worst.sentence"]
    assert "less than one point" in facts["robustness.resampling.sentence"]


def test_a_resampling_that_moves_more_is_said_so(tables):
    table = tables["robustness"].copy()
    chosen = (table["condition"] == "resampled area") & (table["model"] == FINAL)
    table.loc[chosen, "value"] -= 0.03
    text = measured_facts(make_results({"robustness": table}))["robustness.resampling.sentence"]
    assert "3.0 points (area), not less than one point" in text


def test_masks_and_power_and_ranges(facts, tables):
    areas = tables["masking"].query("model == @FINAL and metric == 'roc_auc' and split == 'test'")
    areas = areas.set_index("condition")["value"]
    assert f"from {areas['nothing']:.3f} to {areas['lungs']:.3f}" in facts["masking.lungs.sentence"]
    assert "tell 95 % from 96 % would take 1,504 (paired)" in facts["power.images.sentence"]
    assert "from 10 % to 20 % where 30 % are ill" in facts["decision.range.sentence"]


def test_published_verdicts_are_counted(facts):
    assert facts["published.real.sentence"].startswith("At threshold 0.5 the ensemble is more accurate than A, however")
    assert "1 of 2 cannot be decided" in facts["published.real.sentence"]


def test_errors_that_do_not_fall_are_not_extrapolated(tables, monkeypatch):
    nothing = dict.fromkeys(("floor", "scale", "exponent", "next_point"), (np.nan,) * 3)
    monkeypatch.setattr("pneumonia.measured_facts.extrapolate", lambda table: nothing)
    text = measured_facts(make_results({"learning_curve": tables["learning_curve"]}))["more_data.next.sentence"]
    assert text == "No power law fits the errors, so nothing is extrapolated."


def test_the_cheapest_within_a_point_is_not_dearer_than_the_best(facts):
    minutes = [float(part.split()[-1]) for part in facts["pareto.enough.sentence"].split(" CPU minutes")[:2]]
    assert minutes[1] <= minutes[0]
