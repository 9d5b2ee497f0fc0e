"""The reading list: the wrong calls of the final model and no others, counted over the networks."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from invented_results import make_results

from pneumonia.evaluation.scores import Scores
from pneumonia.report.pages import Filler
from pneumonia.studies.reading_list import COLUMNS, list_wrong_calls, tabulate

LABELS = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}
FIRST = {"a": 0.9, "b": 0.4, "c": 0.5, "d": 0.1, "e": 0.3}  # seed 0 of the final model
SECOND = {"a": 0.7, "b": 0.5, "c": 0.5, "d": 0.3, "e": 0.6}  # seed 1: wrong about b, right about e
OTHER = {"a": 0.2, "b": 0.9, "c": 0.1, "d": 0.2, "e": 0.9}
BASELINE = dict.fromkeys(LABELS, 0.0)  # wrong about c, d and e; no network
EXPECTED = [
    # the ensemble is wrong about a (0.8), d (0.2) and e (0.45); the other network about b, c and d
    ["d", "child d", 1, 0.2, 2, 2],
    ["a", "child a", 0, 0.8, 1, 2],
    ["e", "child e", 1, 0.45, 1, 2],
]


@pytest.fixture(scope="module")
def scores() -> Scores:
    parts = [("final", 0, FIRST), ("final", 1, SECOND), ("other", 0, OTHER), ("majority", 0, BASELINE)]
    rows = [
        {"path": path, "patient_id": f"child {path}", "split": split, "label": label, "model": model, "seed": seed}
        | {"y_prob": y_prob[path] if split == "test" else 1 - label}
        for model, seed, y_prob in parts
        for split in ("validation", "test")  # all of validation is wrong, and not to be listed
        for path, label in LABELS.items()
    ]
    return Scores.parse(pd.DataFrame(rows))


def test_wrong_calls_of_the_ensemble_are_listed_in_order(scores):
    table = list_wrong_calls(scores, "final")
    assert list(table) == COLUMNS
    assert table.values.tolist() == EXPECTED


def test_another_final_model_has_another_list(scores):
    assert list_wrong_calls(scores, "other")["path"].tolist() == ["d", "b", "c"]


def test_the_page_lists_what_the_table_has(tmp_path):
    results = make_results(tmp_path, penalty=4.0)
    table = results.table("reading_list")
    test = results.scores.ensemble(results.final_model, "test")
    wrong = (test["y_prob"] >= 0.5) != (test["label"] == 1)
    assert set(table["path"]) == set(test.loc[wrong, "path"]) and len(table) > 0
    page = Filler(results).fill_file("reading-list.md")
    assert f"For {len(table)} of the {len(test)} test radiographs" in page
    places = [page.index(f"| `{path}` |") for path in table["path"]]
    assert places == sorted(places)
    row = table.iloc[0]
    assert f"| {100 * row['y_prob']:.1f} % | {row['wrong_networks']} of {row['networks']} |" in page
    assert row["networks"] == len(results.cnns)


def test_a_list_of_none_says_so(tmp_path):
    results = make_results(tmp_path)
    empty = results.table("reading_list").head(0)
    assert tabulate(replace(results, measured={"reading_list": empty})).rows == [["none", "–", "–", "–", "–"]]
