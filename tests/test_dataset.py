"""Radiographs: rows, pixels and labels stay aligned, whatever is selected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import USABLE
from tiny_runs import tiny_run

from pneumonia.config import PneumoniaError
from pneumonia.data import sizes as sizes_module
from pneumonia.data.catalog import build_catalog, select_used
from pneumonia.data.dataset import Radiographs, load_radiographs
from pneumonia.data.radiograph import read_radiograph
from pneumonia.data.sizes import find_original_sizes
from pneumonia.transforms.stress_copies import STRESS_COPIES, make_stress_copies


@pytest.fixture(scope="module")
def run(simulated_tree, tmp_path_factory):
    return tiny_run(simulated_tree, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def catalog(run) -> pd.DataFrame:
    return build_catalog(run)


@pytest.fixture(scope="module")
def radiographs(run, catalog) -> Radiographs:
    return load_radiographs(run, catalog, 16)


def assert_pixels_are_of_their_rows(run, part: Radiographs) -> None:
    assert len(part) == len(part.rows) == len(part.pixels) == len(part.labels) == len(part.patients)
    for position in (0, len(part) // 2, len(part) - 1):
        file = run.data / part.rows["path"][position]
        np.testing.assert_array_equal(part.pixels[position], read_radiograph(file, 16))


def test_the_whole_catalog_in_its_order(run, catalog, radiographs):
    used = select_used(catalog)
    pd.testing.assert_frame_equal(radiographs.rows, used)
    assert len(radiographs) == USABLE
    assert_pixels_are_of_their_rows(run, radiographs)
    assert isinstance(radiographs.pixels, np.memmap)


@pytest.mark.parametrize("split", ["train_fit", "validation", "test"])
def test_a_split_has_its_own_rows_and_pixels(run, catalog, radiographs, split):
    part, used = radiographs[split], select_used(catalog)
    expected = used[used["split"] == split].reset_index(drop=True)
    pd.testing.assert_frame_equal(part.rows, expected)
    assert part.labels.tolist() == expected["label"].tolist()
    assert part.patients.tolist() == expected["patient_id"].tolist()
    assert_pixels_are_of_their_rows(run, part)


def test_consecutive_radiographs_stay_memory_mapped(radiographs):
    assert isinstance(radiographs[np.arange(5, 20)].pixels, np.memmap)
    assert not isinstance(radiographs[np.array([7, 5])].pixels, np.memmap)


def test_a_mask_or_positions_choose(run, radiographs):
    mask = radiographs.rows["kind"] == "virus"
    assert set(radiographs[mask].rows["kind"]) == {"virus"}
    assert_pixels_are_of_their_rows(run, radiographs[mask])
    backwards = radiographs[np.arange(USABLE)[::-1]]
    assert backwards.rows["path"].tolist() == radiographs.rows["path"].tolist()[::-1]
    assert_pixels_are_of_their_rows(run, backwards)
    assert len(radiographs[np.zeros(USABLE, bool)]) == 0


def test_unknown_split_is_an_error_that_lists_the_known_ones(radiographs):
    with pytest.raises(PneumoniaError, match="unknown split 'train'; the splits are: train_fit, validation, test"):
        radiographs["train"]


def test_stress_copies_are_those_of_validation(radiographs):
    validation, copies = radiographs["validation"], radiographs.stress_copies()
    assert list(copies) == [f"validation_{name}" for name in STRESS_COPIES]
    digests, donors = validation.rows["sha256"], radiographs["train_fit"].films
    for name, part in copies.items():
        assert set(part.rows["split"]) == {name}
        assert part.rows["path"].tolist() == validation.rows["path"].tolist()
        short = name.removeprefix("validation_")
        expected = make_stress_copies(validation.films, digests, short, donors)
        np.testing.assert_array_equal(part.pixels, expected)


def test_films_are_the_pixels_and_the_shapes_of_the_originals(run, catalog, radiographs, monkeypatch):
    table = {path: (100 + number, 100) for number, path in enumerate(radiographs.rows["path"])}
    monkeypatch.setattr(sizes_module, "read_original_sizes", lambda: table)
    films = radiographs.films
    assert films.pixels is radiographs.pixels and len(films) == USABLE
    sizes = find_original_sizes(radiographs.rows)
    assert len(set(films.aspects)) > 30
    np.testing.assert_array_equal(films.aspects, sizes[:, 0] / sizes[:, 1])
    assert (films.window, load_radiographs(run, catalog, 16, 1.25)["test"].films.window) == (0.0, 1.25)
    some = np.array([7, 3])
    np.testing.assert_array_equal(films[some].pixels, radiographs.pixels[some])
    np.testing.assert_array_equal(films[some].aspects, films.aspects[some])


def test_repr_counts_classes_and_patients(radiographs):
    part = radiographs["test"]
    normal, patients = (part.labels == 0).sum(), len(set(part.patients))
    assert repr(part) == (
        f"<Radiographs: {len(part)} of 16x16, {normal} NORMAL, {len(part) - normal} PNEUMONIA, of {patients} patients>"
    )
