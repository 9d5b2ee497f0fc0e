"""Sentences and tables of the studies: the numbers of their result files, in words that depend on them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from invented_results import (
    make_bench,
    make_learning_curve,
    make_masking,
    make_pareto,
    make_robustness,
    make_three_class,
)

from bench.measure import COLUMNS
from pneumonia.config import ROOT
from pneumonia.results import Results
from pneumonia.series import simulated_run
from pneumonia.studies import STUDIES
from pneumonia.studies.attribution import spell
from pneumonia.studies.bench import describe_backends, describe_goal, tabulate_pipeline
from pneumonia.studies.outliers import tabulate_outliers
from pneumonia.studies.predict_bench import describe_agreement, tabulate_reading
from pneumonia.transforms.corruptions import SIDE

FINAL = "robust_cnn"
ACCURACY = "model == 'robust_cnn' and metric == 'accuracy' and severity >= 1"


def make_results(measured: dict[str, pd.DataFrame]) -> Results:
    empty = pd.DataFrame()
    training = pd.DataFrame({"model": [FINAL] * 2, "cpu_seconds": [300.0, 420.0]})
    rates = [
        (FINAL, "test", "sensitivity", "ensemble", 0.97, 0.94, 0.99, 624),
        (FINAL, "test", "specificity", "ensemble", 0.87, 0.82, 0.91, 624),
    ]
    metrics = pd.DataFrame(rates, columns=["model", "split", "metric", "seed", "value", "ci_low", "ci_high", "n"])
    tables = empty, empty, training, empty, metrics, empty, empty
    return Results(simulated_run(None), {"final_model": FINAL}, *tables, measured)


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
            ("C", "not distinguishable, however the errors pair"),
        )
    ]
    return {
        "robustness": make_robustness(run),
        "masking": make_masking(run),
        "learning_curve": make_learning_curve(),
        "pareto": make_pareto(),
        "three_class": make_three_class(),
        "bench": make_bench(),
        "power": pd.DataFrame([{"design": "paired", "n_radiographs": 1504} | power]),
        "decision_curve": pd.DataFrame(curve),
        "published_comparisons": pd.DataFrame(published),
    } | {
        name: pd.read_csv(ROOT / "results" / f"{name}.csv") for name in ("heatmap_checks", "predict_bench", "outliers")
    }


@pytest.fixture(scope="module")
def results(tables) -> Results:
    return make_results(tables)


def describe(study: str, key: str, results: Results) -> str:
    return STUDIES[study].describe(results)[key]


def test_the_worst_case_is_that_of_the_table(results, tables):
    rows = tables["robustness"].query("model == @FINAL and metric == 'accuracy' and 1 <= severity <= 3")
    worst = rows.loc[rows["value"].idxmin()]
    assert f"{worst['condition']} at severity 3: {100 * worst['value']:.1f} %" in describe(
        "robustness", "worst", results
    )
    harm = [f"{100 * (worst['value'] + moved):.1f} %" for moved in (0.05, -0.05)]
    assert f"a sensitivity of {harm[0]} and a specificity of {harm[1]}" in describe("robustness", "worst", results)
    assert f"to {100 * tables['robustness'].query(ACCURACY)['value'].min():.1f} % (" in describe(
        "robustness", "worst", results
    )


def test_errors_are_compared_with_those_on_untouched_radiographs(results, tables):
    clean = tables["robustness"].query("metric == 'accuracy' and condition == 'none'").set_index("model")["value"]
    ratio = (1 - clean[FINAL]) / (1 - clean["basic_cnn"])
    assert describe("robustness", "error", results).endswith(f"on untouched radiographs {ratio:.2f} times.")


def test_the_resampling_that_moves_most_is_named(tables):
    table = tables["robustness"].copy()
    chosen = (table["condition"] == "resampled area") & (table["model"] == FINAL)
    table.loc[chosen, "value"] -= 0.03
    text = describe("robustness", "resampling", make_results({"robustness": table}))
    assert "at most 3.0 points (area)" in text


def test_smaller_copies_are_given_as_a_range(results, tables):
    rows = tables["robustness"].query("model == @FINAL and metric == 'accuracy'").set_index("condition")["value"]
    worst, clean = (f"{100 * rows[name]:.1f} %" for name in ("copy of 64 px", "none"))
    text = describe("robustness", "copies", results)
    assert text.endswith(f"is between {worst} (64 px) and {clean} ({SIDE}-px files).")


def test_masks_and_power_and_ranges(results, tables):
    areas = tables["masking"].query("model == @FINAL and metric == 'roc_auc' and split == 'test'")
    areas = areas.set_index("condition")["value"]
    assert f"from {areas['nothing']:.3f} to {areas['lungs']:.3f}" in describe("masking", "lungs", results)
    assert "distinguish 95 % from 96 % would take 1,504 (paired)" in describe("power", "images", results)
    pilot = describe("power", "pilot", results)
    assert (pilot["sensitivity"], pilot["specificity"]) == ("94.0 %", "82.0 %")  # the lower ends
    assert [share["prevalence"] for share in pilot["shares"]] == ["5 %", "15 %", "30 %", "62.5 %"]
    assert pilot["default"] == pilot["shares"][2] and pilot["margin"] == "3 points"
    treat_from = describe("decision_curve", "range", results)
    assert treat_from.endswith("from a probability of 10 to 20 % where the prevalence is 30 %.")


def test_published_verdicts_are_counted(results):
    assert describe("published_comparisons", "real", results).startswith(
        "At threshold 0.5 the ensemble is more accurate than A, however"
    )
    assert "1 of 3 accuracies cannot be compared" in describe("published_comparisons", "real", results)
    assert ", 1 by no predictions at all." in describe("published_comparisons", "real", results)


def test_errors_that_do_not_fall_are_not_extrapolated(tables, monkeypatch):
    nothing = dict.fromkeys(("floor", "scale", "exponent", "next_point"), (np.nan,) * 3)
    monkeypatch.setattr("pneumonia.studies.learning_curve.extrapolate", lambda table: nothing)
    text = describe("learning_curve", "next", make_results({"learning_curve": tables["learning_curve"]}))
    assert text.endswith(". No power law fits the errors, so nothing is extrapolated.")


@pytest.mark.parametrize(
    ("high", "most", "words"),
    [
        (3.0, np.inf, "so what the next point of accuracy would take cannot be said."),
        (1.2, 90000.0, "would take about 30,000 patients (95 %: 21,624 to 90,000 patients)."),
    ],
)
def test_a_law_at_its_bound_extrapolates_nothing(high, most, words, tables, monkeypatch):
    law = {"exponent": (0.9, 0.09, high), "next_point": (30000.0, 21624.0, most)}
    monkeypatch.setattr("pneumonia.studies.learning_curve.extrapolate", lambda table: law)
    text = describe("learning_curve", "next", make_results({"learning_curve": tables["learning_curve"]}))
    assert text.endswith(words) and f"−0.09 to −{high:.2f}" in text


def test_a_curve_that_leaves_the_last_point_again_is_not_flat_before(tables, monkeypatch):
    law = {"exponent": (0.9, 0.09, 3.0), "next_point": (30000.0, 21624.0, np.inf)}
    monkeypatch.setattr("pneumonia.studies.learning_curve.extrapolate", lambda table: law)
    curve = tables["learning_curve"].copy()
    rows = curve.query("split == 'test' and metric == 'accuracy' and seed == 'mean'").sort_values("patients")
    curve.loc[rows.index, "value"] = [*[0.93] * (len(rows) - 3), 0.95, 0.925, 0.93]  # above, then below the last
    text = describe("learning_curve", "next", make_results({"learning_curve": curve}))
    assert f"From {rows['patients'].iloc[-1]:,.0f} patients on it stays within a point" not in text
    assert f"From {rows['patients'].iloc[-2]:,.0f} patients on it stays within a point" in text


def test_the_cheapest_within_a_point_costs_no_more_than_the_best(results):
    minutes = [float(part.split()[-1]) for part in describe("pareto", "enough", results).split(" CPU minutes")[:2]]
    assert minutes[1] <= minutes[0]


def test_estimated_costs_follow_from_the_tables(results, tables):
    assert "100 trainings of the final network take 10 core hours" in describe("pareto", "growth", results)
    rate = tables["predict_bench"].query("variant == '100000 radiographs' and unit == '1/s'")["median"].iloc[0]
    assert f"{rate:.0f} radiographs a second ({1e6 / rate / 3600:.1f} hours for 1,000,000" in describe(
        "predict_bench", "archive", results
    )


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("logit_change_normal", 0.0311, "+0.031"),
        ("logit_change_normal", -0.0311, "−0.031"),
        ("logit_change_normal", -0.0004, "0.000"),
        ("logit_sd", 0.028, "0.028"),
        ("roc_auc", 0.9, "0.900"),
        ("logit_sd", np.nan, "–"),
    ],
)
def test_only_a_change_has_a_sign(metric, value, text):
    assert spell(metric, value) == text


def test_passes_are_compared_with_the_usual_and_the_fastest_way():
    table = make_bench().query("metric == 'throughput'").copy()
    table.loc[table["variant"] == "image_dataset_from_directory, cached", "median"] = 1e6
    table.loc[table["variant"] == "pneumonia", "median"] = 5e5
    first = table.query("benchmark == 'files, first pass' and variant == 'flow_from_directory'")["median"].item()
    fastest = "1,000,000 (`image_dataset_from_directory, cached`)"
    table.loc[table["variant"] == "pneumonia", "ratio"] = 2345.6
    _, rows = tabulate_pipeline(make_results({"bench": table}))
    assert rows[0] == ["files, first pass", "500,000", f"{first:,.0f}", fastest, "2,346"]


def test_backends_are_compared_with_the_default():
    speed = make_bench().query("benchmark == 'training' and metric == 'throughput'").set_index("variant")
    text = describe_backends(make_bench())
    assert f"The default, tensorflow in float32, trains on {speed.loc['tensorflow', 'median']:.0f} radiographs" in text
    assert f"{speed.loc['jax', 'ratio']:.2g} times with jax" in text


@pytest.mark.parametrize(
    ("best", "words"), [(91.5, "popular public recipe has 91.5 % after 1,200"), (90.0, "is not there")]
)
def test_a_recipe_that_never_gets_there_is_said_so(best, words):
    rows = [
        ("to 91% on test", "popular public recipe", "cost", 1200.0, "CPU s", 3, "", np.nan),
        ("to 91% on test", "this project, in small", "cost", 60.0, "CPU s", 3, "popular public recipe", 0.05),
        ("to 91% on test", "popular public recipe", "best accuracy", best, "%", 1, "", np.nan),
        ("to 91% on test", "this project, in small", "best accuracy", 92.0, "%", 1, "popular public recipe", 1.0),
    ]
    text = describe_goal(pd.DataFrame(rows, columns=COLUMNS))
    assert words in text and "in small (96 px, 6 epochs) has 92.0 % after 60" in text
    assert ("20 times as much" in text) == (best > 91)


def test_speed_is_compared_with_that_of_keras(results):
    head, rows = tabulate_reading(results)
    cold = results.table("predict_bench").query("benchmark == 'cold start'").set_index("variant")
    assert rows[0][1] == f"{cold.loc['keras.Model.predict', 'median']:#.3g} s"
    assert rows[0][3] == f"{cold.loc['python -m pneumonia predict', 'ratio']:.1f}"
    assert all(len(row) == len(head) for row in rows)
    assert {f"{count} radiographs, file by file" for count in ("100", "10,000", "100,000")} < {row[0] for row in rows}
    assert all("MiB most memory used, " in row[2] for row in rows[3:])


def test_memory_stays_flat(results):
    used = results.table("predict_bench").query("benchmark == 'memory'")["median"]
    assert used.max() < 1.1 * used.min()


def test_every_kind_of_picture_has_its_row(results):
    _, rows = tabulate_outliers(results)
    table = results.table("outliers")
    assert [row[0] for row in rows] == table["kind"].tolist()
    assert rows[0][1] == "–" and rows[1][1] == f"{table['roc_auc'][1]:.3f}"


def test_heatmaps_are_judged_by_their_table(tables):
    table = tables["heatmap_checks"].copy()
    table.loc[(table["method"] == "Grad-CAM") & (table["metric"] == "hit rate"), "value"] = 0.123
    assert "in 12.3 % (" in describe("heatmap_checks", "believed", make_results({"heatmap_checks": table}))


def test_predictions_that_change_are_counted(tables):
    table = tables["predict_bench"].copy()
    table.loc[table["metric"] == "calls that flip at 0.5", "median"] = 3
    text = describe_agreement(table)
    assert "83 untouched original files" in text and text.endswith("3 predictions at 0.5 change.")


def test_agreement_that_was_not_measured_is_not_claimed(tables):
    assert "was not measured" in describe_agreement(tables["predict_bench"].query("benchmark == 'memory'"))
