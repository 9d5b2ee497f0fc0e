"""Sizes of the original files, and weights under which they say little about the class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from pneumonia.config import PneumoniaError
from pneumonia.data import propensity
from pneumonia.data.propensity import LARGEST_WEIGHT, effective_sample_size, weigh_by_size
from pneumonia.data.sizes import (
    find_original_sizes,
    read_original_sizes,
)

KNOWN = "test/NORMAL/IM-0001-0001.jpeg"  # 1857 x 1317 pixels


def rows_of(*files: tuple[str, int, int]) -> pd.DataFrame:
    return pd.DataFrame(files, columns=["path", "width", "height"])


# --- sizes --------------------------------------------------------------------------------------------------------


def test_a_square_copy_has_the_size_of_its_original_and_any_other_file_its_own():
    rows = rows_of(
        (KNOWN, 224, 224),
        ("Chest_XRay/Test/normal/IM-0001-0001.jpeg", 64, 64),  # the folders' case does not matter
        (KNOWN, 1000, 700),  # not square: not a copy, whatever its name
        ("test/NORMAL/mine.jpeg", 224, 224),  # square, unknown
        ("train/NORMAL/IM-0001-0001.jpeg", 224, 224),  # the name of another split
        ("mine.jpeg", 800, 1000),
    )
    expected = [(1857, 1317), (1857, 1317), (1000, 700), (224, 224), (224, 224), (800, 1000)]
    found = find_original_sizes(rows)
    assert found.dtype.kind == "i"
    assert found.tolist() == [list(size) for size in expected]


def test_no_rows_have_no_sizes():
    assert find_original_sizes(rows_of()).shape == (0, 2)


def test_the_table_lists_every_file_of_the_archive(tmp_path):
    table = read_original_sizes()
    assert len(table) == 5856
    assert min(min(size) for size in table.values()) > 100
    assert read_original_sizes(tmp_path / "none.csv") == {}


# --- weights ------------------------------------------------------------------------------------------------------


def draw_rows(count: int = 1000, gap: float = 0.4) -> pd.DataFrame:
    """Children with two films each, three of ten NORMAL; the films of these are larger, by `gap` of a log."""
    rng = np.random.default_rng(0)
    label = np.repeat(rng.random(count // 2) < 0.7, 2).astype(int)
    width = np.exp(7 + 0.3 * rng.standard_normal(count) + gap * (label == 0))
    height = width / np.exp(0.3 + 0.12 * rng.standard_normal(count))
    return pd.DataFrame(
        {
            "path": [f"films/{number}.jpeg" for number in range(count)],
            "width": width.astype(int),
            "height": height.astype(int),
            "label": label,
            "patient_id": [f"child {number // 2}" for number in range(count)],
        }
    )


def auc_of_size(rows: pd.DataFrame, weights: np.ndarray | None = None) -> float:
    return roc_auc_score(rows["label"], -np.log(rows["width"] * rows["height"]), sample_weight=weights)


def test_weights_make_size_uninformative_and_the_classes_equal():
    rows = draw_rows()
    weights = weigh_by_size(rows)
    assert weights.shape == (len(rows),) and weights.min() > 0
    assert auc_of_size(rows) > 0.8
    assert abs(auc_of_size(rows, weights) - 0.5) < 0.06
    totals = [weights[rows["label"] == label].sum() for label in (0, 1)]
    assert totals == pytest.approx([len(rows) / 2] * 2)
    assert weights.mean() == pytest.approx(1)


def test_where_size_says_nothing_weights_only_balance_the_classes():
    rows = draw_rows(gap=0.0)
    weights = weigh_by_size(rows)
    for label in (0, 1):
        of_class = weights[rows["label"] == label]
        assert of_class.std() < 0.25 * of_class.mean()


def test_weights_are_the_same_every_time_and_leave_the_rows_alone():
    rows = draw_rows()
    before = rows.copy()
    weights = weigh_by_size(rows)
    np.testing.assert_array_equal(weigh_by_size(rows), weights)
    pd.testing.assert_frame_equal(rows, before)


def test_large_weights_are_clipped(monkeypatch):
    rows = draw_rows(gap=0.8)
    clipped = weigh_by_size(rows)
    monkeypatch.setattr(propensity, "LARGEST_WEIGHT", np.inf)
    free = weigh_by_size(rows)
    cut = 0
    for label in (0, 1):
        of_class, freely = clipped[rows["label"] == label], free[rows["label"] == label]
        is_cut = freely > LARGEST_WEIGHT * freely.mean()
        kept = np.minimum(freely / freely.mean(), LARGEST_WEIGHT)
        np.testing.assert_allclose(of_class, kept * (len(rows) / 2 / kept.sum()))
        cut += is_cut.sum()
    assert cut > 1
    assert effective_sample_size(clipped) > effective_sample_size(free)


def test_the_propensity_of_a_child_is_fitted_on_others(monkeypatch):
    rows, held = draw_rows(200), []

    def watch(model, features, labels, cv, **options):
        for fitted, used in cv:
            assert not set(rows["patient_id"][fitted]) & set(rows["patient_id"][used])
            held.extend(used)
        return cross_val_predict(model, features, labels, cv=cv, **options)

    monkeypatch.setattr(propensity, "cross_val_predict", watch)
    weigh_by_size(rows)
    assert sorted(held) == list(range(200))


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda rows: rows.assign(label=1), "0 NORMAL and 100 PNEUMONIA patients are too few"),
        (lambda rows: rows[:8], "NORMAL and . PNEUMONIA patients are too few for 5 folds"),
        (lambda rows: rows.assign(patient_id=np.where(rows["label"], rows["patient_id"], "x")), "1 NORMAL and"),
    ],
    ids=["one class", "four patients", "one patient of a class"],
)
def test_too_few_patients_are_one_line_that_counts_them(change, counts):
    with pytest.raises(PneumoniaError, match=counts) as caught:
        weigh_by_size(change(draw_rows(200)))
    assert "\n" not in str(caught.value) and "without weigh_by_size" in str(caught.value)


@pytest.mark.parametrize(("weights", "size"), [([1, 1, 1], 3), ([5, 5, 0, 0], 2), ([0, 7, 0], 1), ([1, 2], 9 / 5)])
def test_effective_sample_size_counts_equal_examples(weights, size):
    assert effective_sample_size(np.array(weights, dtype=float)) == pytest.approx(size)
