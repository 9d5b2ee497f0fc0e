"""Who is learned from, who is validated on, who is tested on: by patient, never by radiograph."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .config import PneumoniaError


def assign_splits(catalog: pd.DataFrame, fraction: float, seed: int) -> pd.Series:
    """Name the split of every row: train_fit, validation or test.

    The official test folder stays as it is. The official val folder (16 radiographs) and `fraction` of the train
    radiographs of each kind become validation, whole patients at a time, drawn with `seed`.

    Args: catalog with columns official, patient_id, kind, excluded_reason.
    Returns: a Series aligned with the catalog.
    """
    split = catalog["official"].map({"train": "train_fit", "val": "validation", "test": "test"})
    in_val = set(catalog.loc[catalog["official"] == "val", "patient_id"])
    carved = in_val | draw_patients(catalog[catalog["official"] == "train"], fraction, seed)
    return split.mask((catalog["official"] == "train") & catalog["patient_id"].isin(carved), "validation")


def draw_patients(train: pd.DataFrame, fraction: float, seed: int) -> set[str]:
    """Patients holding about `fraction` of the usable radiographs of every kind (stratified, grouped)."""
    usable = train[train["excluded_reason"] == ""]
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for _, of_kind in usable.groupby("kind", sort=True):
        sizes = of_kind.groupby("patient_id", sort=True).size()
        sizes = sizes.iloc[rng.permutation(len(sizes))]
        drawn |= set(sizes.index[sizes.cumsum() <= fraction * len(of_kind)])
    return drawn


def check_no_patient_overlap(catalog: pd.DataFrame) -> None:
    """Raise PneumoniaError when a patient has radiographs in two splits: results would be too good to be true."""
    per_patient = catalog.groupby("patient_id")["split"].nunique()
    if (per_patient > 1).any():
        patient = per_patient.index[per_patient > 1][0]
        paths = ", ".join(catalog.loc[catalog["patient_id"] == patient, "path"].head(3))
        raise PneumoniaError(f"patient {patient} is in two splits ({paths}); move the files into one split folder")


def count_shared_bare_numbers(catalog: pd.DataFrame) -> dict[str, int]:
    """Sensitivity check: bare patient numbers found in both train and test, per class, had the kind been ignored.

    The archive counts patients separately for each series and kind, so an equal bare number is not an equal child.
    """
    numbers = catalog["patient_id"].str.extract(r"^(?:(?:NORMAL2-)?IM|person)-(\d+)(?:-[a-z]+)?$")[0].astype("Float64")
    shared = {}
    for class_name, rows in catalog.assign(number=numbers).dropna(subset="number").groupby("class_name"):
        in_test = set(rows.loc[rows["split"] == "test", "number"])
        shared[str(class_name)] = len(in_test & set(rows.loc[rows["split"] != "test", "number"]))
    return shared
