"""Robustness: corruption errors, the worst case, and resampling."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from pneumonia.studies import robustness
from pneumonia.studies.conditions import (
    Measured,
    shrink_as_trained,
)
from pneumonia.studies.robustness import (
    ALL,
    COPIES,
    RESAMPLING,
    compute_corruption_errors,
    copy_at,
    find_worst,
    find_worst_resampling,
    resample,
)
from pneumonia.transforms.corruptions import CORRUPTIONS, SEVERITIES


def made_up(errors: dict[str, float]) -> dict:
    """Every corruption and severity costs a model the same error."""
    return {
        (model, name, severity, "accuracy"): Measured(1 - error, np.full(5, 1 - error), 2)
        for model, error in errors.items()
        for name in CORRUPTIONS
        for severity in SEVERITIES
    }


def test_corruption_errors_are_relative_to_the_basic_network():
    found = compute_corruption_errors(made_up({"basic_cnn": 0.2, "net": 0.05}))
    assert found["net", ALL, 0, "corruption_error"].value == pytest.approx(0.25)
    assert found["basic_cnn", "blur", 0, "corruption_error"].value == pytest.approx(1)
    assert found["net", ALL, 0, "accuracy"].value == pytest.approx(0.95)
    alone = compute_corruption_errors(made_up({"net": 0.05}))
    assert ("net", ALL, 0, "corruption_error") not in alone


def test_the_worst_realistic_case_and_the_resampling_are_found():
    rows = [("net", "blur", s, "accuracy", 0.9 - s / 10) for s in SEVERITIES]
    rows += [("net", "none", 0, "accuracy", 0.95)] + [
        ("net", f"resampled {m}", 0, "accuracy", 0.95) for m in RESAMPLING
    ]
    table = pd.DataFrame(rows, columns=["model", "condition", "severity", "metric", "value"])
    table.loc[table["condition"] == "resampled nearest", "value"] = 0.93
    assert find_worst(table, "net")["severity"] == 3
    assert find_worst_resampling(table, "net") == ("nearest", pytest.approx(-2.0))


def test_resampling_goes_to_the_size_of_the_model(chests):
    whole, half = [(0, 0, 64, 64)] * 12, [(16.0, 0, 48.0, 64)] * 12
    for shrink in (shrink_as_trained, *(partial(resample, method=method) for method in RESAMPLING.values())):
        assert shrink(chests, 32, whole).shape == (12, 32, 32)
        expected = shrink(np.ascontiguousarray(chests[:, :, 16:48]), 32, [(0, 0, 32, 64)] * 12)
        np.testing.assert_array_equal(shrink(chests, 32, half), expected)


def test_every_condition_is_named_once():
    named = [(condition.name, condition.severity) for condition in robustness.build_conditions()]
    assert len(named) == len(set(named)) == 1 + 4 + len(COPIES) + 16 * 5


def test_smaller_copies_are_antialiased_and_keep_what_is_coarse(chests):
    copies = copy_at(chests, [], 16)
    assert copies.shape == (12, 16, 16) and copies.dtype == np.uint8
    blocks = chests.reshape(12, 16, 4, 16, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(copies, blocks, atol=0.51)
    shown = {c.name: c.change(chests, []).shape[1] for c in robustness.build_conditions() if "copy" in c.name}
    assert shown == {f"copy of {side} px": side for side in COPIES}
