"""Pareto: a grid in miniature, trained, scored, resumed; the front."""

from __future__ import annotations

import pandas as pd
import pytest
from tiny_runs import CNN, make_study_twice, tiny_recipe

from pneumonia.studies import load_results, pareto
from pneumonia.studies.pareto import find_front


@pytest.fixture(scope="module")
def base(finished):
    """A finished tiny run, its catalog, and the recipe that the study varies."""
    run, catalog = finished
    return run, catalog, tiny_recipe(run)


def test_pareto(base, monkeypatch):
    run, _, tiny = base
    grid = (("build_half_cnn", 32, 1),)
    table = make_study_twice(run, "pareto", pareto.pareto_run(run, tiny, grid), monkeypatch)
    assert list(table.columns) == pareto.COLUMNS
    assert set(table["width"]) == {0.5} and table["parameters"].max() < 888_673 / 3, "a third of the deep CNN"
    both = pareto.add_series(table, load_results(run), "validation", "accuracy")
    assert set(both["model"]) == {*table["model"], CNN}


def test_the_front_is_what_nothing_beats():
    table = pd.DataFrame({"cpu_seconds": [1, 2, 3, 4, 2], "value": [0.5, 0.7, 0.6, 0.8, 0.65]})
    assert find_front(table).tolist() == [True, True, False, True, False]
