"""Three outputs: trained in miniature, scored, resumed; the counts behind the metrics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_runs import make_study_twice, tiny_recipe

from pneumonia.config import KINDS, PneumoniaError
from pneumonia.records import record_path
from pneumonia.studies import three_class


@pytest.fixture(scope="module")
def base(finished):
    """A finished tiny run, its catalog, and the recipe that the study varies."""
    run, catalog = finished
    return run, catalog, tiny_recipe(run)


def test_three_class(base, monkeypatch):
    run, catalog, tiny = base
    study = replace(three_class.three_class_run(run, tiny), seeds=(0,))
    study = replace(study, models=tuple(replace(config, seeds=(0,)) for config in study.models))
    table = make_study_twice(run, "three_class", study, monkeypatch)
    assert list(table.columns) == three_class.COLUMNS
    three = table.query("model == 'three_class' and split == 'test'").set_index("metric")["value"]
    for kind in KINDS:
        assert sum(three[f"{kind} as {other}"] for other in KINDS) == pytest.approx(1, abs=1e-5)
    assert set(table.query("model == 'two_class'")["metric"]) == {"accuracy", "sensitivity", "specificity", "roc_auc"}
    monkeypatch.setattr(three_class, "fit_three_class", lambda *_: pytest.fail("trained what was there"))
    monkeypatch.setattr("pneumonia.models.training.train_one", lambda *_: pytest.fail("trained what was there"))
    three_class.train_members(study, catalog, lambda line: None)

    def train_again(run, catalog, config, seed):
        raise LookupError(config.name)

    monkeypatch.setattr(three_class, "fit_three_class", train_again)
    record_path(study, study.model("three_class"), 0).write_text('{"model": "three_class"}')
    with pytest.raises(LookupError, match="three_class"):  # a record that lacks its hashes counts for nothing
        three_class.train_members(study, catalog, lambda line: None)


def test_outputs_are_counted_by_hand():
    kinds = np.array([0, 0, 1, 1, 2, 2])
    calls = np.array([0, 1, 1, 2, 2, 0])
    output = np.full((6, 3), 0.1)
    output[np.arange(6), calls] = 0.8
    found = three_class.measure_outputs(kinds, output, np.ones((2, 6)))
    assert found["sensitivity"][0] == pytest.approx(3 / 4) and found["specificity"][0] == pytest.approx(1 / 2)
    assert found["roc_auc"][0] == pytest.approx(5 / 8)
    assert found["accuracy of three"][0] == pytest.approx(3 / 6)
    assert found["bacteria as virus"][0] == pytest.approx(1 / 2)
    assert found["virus as NORMAL"][1] == pytest.approx([1 / 2, 1 / 2])


def test_files_that_name_no_kind_cannot_be_trained_on(base):
    with pytest.raises(PneumoniaError, match="kind unknown is unknown; use files that name the kind"):
        three_class.kind_labels(base[1].assign(kind="unknown"))
