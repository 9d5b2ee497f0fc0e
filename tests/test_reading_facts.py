"""Tables and sentences about reading a new radiograph: every number is that of the result file."""

from __future__ import annotations

import pandas as pd
import pytest

from pneumonia.config import ROOT
from pneumonia.results import Results
from pneumonia.series import simulated_run
from pneumonia.studies.heatmap_checks import tell_heatmaps
from pneumonia.studies.outliers import tabulate_outliers
from pneumonia.studies.speed import tabulate_reading, tell_agreement

NAMES = ("predict_bench", "outliers", "heatmap_checks")


def make_results(measured: dict[str, pd.DataFrame]) -> Results:
    return Results(simulated_run(None), {"final_model": "robust_cnn"}, *[pd.DataFrame()] * 7, measured)


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results({name: pd.read_csv(ROOT / "results" / f"{name}.csv") for name in NAMES})


def test_speed_stands_beside_that_of_keras(results):
    head, rows = tabulate_reading(results, {})
    table = results.table("predict_bench")
    cold = table.query("benchmark == 'cold start'").set_index("variant")
    assert rows[0][1] == f"{cold.loc['keras.Model.predict', 'median']:#.3g} s"
    assert rows[0][3] == f"{cold.loc['python -m pneumonia predict', 'ratio']:.1f}"
    assert all(len(row) == len(head) for row in rows)
    assert {f"{count} radiographs, file by file" for count in ("100", "10,000", "100,000")} < {row[0] for row in rows}
    assert all("MiB most memory used, " in row[2] for row in rows[3:])


def test_memory_stays_flat(results):
    used = results.table("predict_bench").query("benchmark == 'memory'")["median"]
    assert used.max() < 1.1 * used.min()


def test_every_kind_of_picture_has_its_row(results):
    _, rows = tabulate_outliers(results, {})
    table = results.table("outliers")
    assert [row[0] for row in rows] == table["kind"].tolist()
    assert rows[0][1] == "–" and rows[1][1] == f"{table['roc_auc'][1]:.3f}"


def test_unmeasured_says_how_to_measure():
    for tabulate, command in ((tabulate_reading, "bench --only predict"), (tabulate_outliers, "pneumonia export")):
        head, rows = tabulate(make_results({}), {})
        assert command in rows[0][0] and len(rows[0]) == len(head)


def test_heatmaps_are_judged_by_their_table(results):
    table = results.table("heatmap_checks").copy()
    at = (table["method"] == "Grad-CAM") & (table["metric"] == "hit rate")
    table.loc[at, "value"] = 0.123
    assert "in 12.3 % (" in tell_heatmaps(results, table)["heatmaps.believed"]


def test_flipped_calls_are_told(results):
    table = results.table("predict_bench").copy()
    table.loc[table["metric"] == "calls that flip at 0.5", "median"] = 3
    text = tell_agreement(results, table)["reading.agreement"]
    assert "83 untouched original files" in text and text.endswith("3 calls flip.")


def test_agreement_that_was_not_measured_is_not_claimed(results):
    table = results.table("predict_bench").query("benchmark == 'memory'")
    assert "was not measured" in tell_agreement(results, table)["reading.agreement"]
