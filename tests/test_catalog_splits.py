"""Validation is split off by patient, stratified by kind, fixed by seed."""

from __future__ import annotations

import pandas as pd
import pytest

from pneumonia.config import KINDS, PneumoniaError
from pneumonia.data.catalog import assign_splits, check_no_patient_overlap, count_shared_bare_numbers


def rows(official: str, kind: str, patients: range, images: int = 1) -> list[dict]:
    return [
        {
            "path": f"{official}/{kind}-{number}-{image}.jpeg",
            "official": official,
            "kind": kind,
            "class_name": "NORMAL" if kind == "NORMAL" else "PNEUMONIA",
            "patient_id": f"IM-{number}" if kind == "NORMAL" else f"person-{number}-{kind}",
            "excluded_reason": "",
        }
        for number in patients
        for image in range(images)
    ]


@pytest.fixture
def catalog() -> pd.DataFrame:
    """600 train radiographs (kinds 1:2:3, one to four per child), 6 of the official val, 30 of the official test."""
    table = []
    for weight, kind in enumerate(KINDS, 1):
        table += rows("train", kind, range(1, 20 * weight + 1), images=2)
        table += rows("train", kind, range(500, 500 + 15 * weight), images=4)
        table += rows("val", kind, range(800, 802)) + rows("test", kind, range(900, 910))
    return pd.DataFrame(table)


def test_no_patient_is_in_two_splits(catalog):
    split = assign_splits(catalog, 0.15, seed=0)
    assert split.groupby(catalog["patient_id"]).nunique().max() == 1
    check_no_patient_overlap(catalog.assign(split=split))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.4])
def test_every_kind_gives_its_share_to_validation(catalog, kind, fraction):
    split = assign_splits(catalog, fraction, seed=0)
    train = (catalog["official"] == "train") & (catalog["kind"] == kind)
    carved = (split[train] == "validation").sum()
    largest_patient = 4
    assert fraction * train.sum() - largest_patient < carved <= fraction * train.sum()


def test_official_val_is_validation_and_official_test_is_test(catalog):
    split = assign_splits(catalog, 0.15, seed=0)
    assert set(split[catalog["official"] == "val"]) == {"validation"}
    assert set(split[catalog["official"] == "test"]) == {"test"}
    assert set(split[catalog["official"] == "train"]) == {"train_fit", "validation"}


def test_split_is_fixed_by_the_seed(catalog):
    assert assign_splits(catalog, 0.15, seed=1).equals(assign_splits(catalog, 0.15, seed=1))
    assert not assign_splits(catalog, 0.15, seed=1).equals(assign_splits(catalog, 0.15, seed=2))


def test_split_does_not_depend_on_the_order_of_rows(catalog):
    shuffled = catalog.sample(frac=1, random_state=0)
    assert assign_splits(shuffled, 0.15, seed=0).sort_index().equals(assign_splits(catalog, 0.15, seed=0))


def test_a_child_of_the_official_val_brings_its_train_radiographs_along(catalog):
    table = pd.concat([catalog, pd.DataFrame(rows("val", "virus", range(7, 8)))], ignore_index=True)
    split = assign_splits(table, 0.0, seed=0)
    assert set(split[table["patient_id"] == "person-7-virus"]) == {"validation"}


def test_left_out_radiographs_do_not_count_towards_the_share(catalog):
    duplicates = catalog[catalog["official"] == "train"].assign(excluded_reason="duplicate of x")
    padded = pd.concat([catalog, duplicates], ignore_index=True)
    split, padded_split = assign_splits(catalog, 0.15, seed=0), assign_splits(padded, 0.15, seed=0)
    assert padded_split[: len(catalog)].equals(split)


def test_patient_in_train_and_test_is_an_error_that_names_the_files(catalog):
    table = pd.concat([catalog, pd.DataFrame(rows("test", "virus", range(3, 4)))], ignore_index=True)
    table["split"] = assign_splits(table, 0.15, seed=0)
    with pytest.raises(PneumoniaError, match=r"patient person-3-virus is in two splits .*train/virus-3-0.*; move"):
        check_no_patient_overlap(table)


def test_bare_numbers_are_counted_across_kinds_and_series_but_within_a_class():
    table = pd.DataFrame(
        {
            "patient_id": ["person-1-virus", "person-1-bacteria", "IM-1", "NORMAL2-IM-2", "IM-2", "person-9-virus"],
            "class_name": ["PNEUMONIA", "PNEUMONIA", "NORMAL", "NORMAL", "NORMAL", "PNEUMONIA"],
            "split": ["train_fit", "test", "train_fit", "validation", "test", "test"],
        }
    )
    assert count_shared_bare_numbers(table) == {"NORMAL": 1, "PNEUMONIA": 1}


def test_files_without_a_patient_share_no_bare_number():
    table = pd.DataFrame(
        {
            "patient_id": ["train-train-00007", "test-test-00007", "IM-3"],
            "class_name": ["NORMAL", "NORMAL", "NORMAL"],
            "split": ["train_fit", "test", "test"],
        }
    )
    assert count_shared_bare_numbers(table)["NORMAL"] == 0
