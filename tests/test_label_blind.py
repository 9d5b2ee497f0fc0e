"""No label decides how a pixel changes: augmentations, stress copies and the noise control are given none."""

from __future__ import annotations

from dataclasses import fields, replace
from inspect import signature

import numpy as np
import pandas as pd
import pytest
from tiny_runs import CNN, tiny_run

from pneumonia.config import CLASS_NAMES
from pneumonia.data import sizes
from pneumonia.data.catalog import build_catalog
from pneumonia.data.dataset import load_radiographs
from pneumonia.data.generators import build_generators
from pneumonia.data.noise import replace_by_noise
from pneumonia.transforms.augmentations import AUGMENTATIONS, BATCH_AUGMENTATIONS, Films, augment_batch
from pneumonia.transforms.stress_copies import STRESS_COPIES, make_stress_copies

WINDOW = 1.25


@pytest.fixture(scope="module", autouse=True)
def originals(clean_tree):
    """An invented size for the original of every file, so that shapes differ."""
    files = sorted(path.relative_to(clean_tree).as_posix() for path in clean_tree.rglob("*.jpeg"))
    rng = np.random.default_rng(0)
    table = {path: (int(300 * rng.uniform(0.7, 2.0)), 300) for path in files}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizes, "read_original_sizes", lambda: table)
        yield


@pytest.fixture(scope="module")
def run(clean_tree, tmp_path_factory):
    return tiny_run(clean_tree, tmp_path_factory.mktemp("home"), (CNN,))


@pytest.fixture(scope="module")
def catalog(run) -> pd.DataFrame:
    return build_catalog(run)


@pytest.fixture(scope="module")
def mislabelled(catalog) -> pd.DataFrame:
    """The same files, every NORMAL called PNEUMONIA and the other way round."""
    label = 1 - catalog["label"]
    names = label.map(dict(enumerate(CLASS_NAMES)))
    return catalog.assign(label=label, class_name=names, kind=np.where(label == 1, "virus", "NORMAL"))


def test_films_hold_pixels_and_shapes_and_nothing_else():
    assert [field.name for field in fields(Films)] == ["pixels", "aspects", "window"]


@pytest.mark.parametrize(
    ("functions", "parameters"),
    [
        (AUGMENTATIONS.values(), ["image", "rng"]),
        (BATCH_AUGMENTATIONS.values(), ["films", "rng"]),
        (STRESS_COPIES.values(), ["image", "aspect", "rng", "donors"]),
        ([augment_batch], ["films", "names", "rng"]),
        ([make_stress_copies], ["films", "digests", "name", "donors"]),
    ],
    ids=["augmentations", "of a batch", "stress copies", "augment_batch", "make_stress_copies"],
)
def test_no_transform_takes_a_label(functions, parameters):
    assert functions
    for function in functions:
        assert list(signature(function).parameters) == parameters, function.__name__


@pytest.mark.parametrize("name", [*BATCH_AUGMENTATIONS, *AUGMENTATIONS])
def test_batches_show_the_same_pictures_whatever_the_labels(run, catalog, mislabelled, name):
    config = replace(run.model(CNN), augmentations=(name,), window=WINDOW)
    right, wrong = (build_generators(run, each, config)["train_fit"] for each in (catalog, mislabelled))
    changed = False
    for batch in range(len(right)):
        (pictures, labels), (same, others) = right[batch], wrong[batch]
        np.testing.assert_array_equal(same, pictures)
        np.testing.assert_array_equal(others, 1 - labels)
        stored = right.pixels[right.order[batch * right.batch_size : (batch + 1) * right.batch_size]]
        changed = changed or not np.array_equal(pictures[..., 0], stored)
    assert changed  # there was something to see a label with


def test_labels_change_the_weights_of_examples_and_not_the_pictures(run, catalog, mislabelled):
    config = replace(run.model(CNN), augmentations=("shape", "tones"), window=WINDOW, weigh_by_size=True)
    some = mislabelled.assign(label=np.where(catalog.index % 3 == 0, mislabelled["label"], catalog["label"]))
    right, wrong = (build_generators(run, each, config)["train_fit"][0] for each in (catalog, some))
    np.testing.assert_array_equal(wrong[0], right[0])
    assert not np.array_equal(wrong[2], right[2])


def test_stress_copies_are_the_same_whatever_the_labels(run, catalog, mislabelled):
    right, wrong = (load_radiographs(run, each, 80, WINDOW) for each in (catalog, mislabelled))
    copies, others = right.stress_copies(), wrong.stress_copies()
    assert list(copies) == list(others)
    for name, copy in copies.items():
        np.testing.assert_array_equal(others[name].pixels, copy.pixels)
        assert not np.array_equal(copy.pixels, right["validation"].pixels), name
        np.testing.assert_array_equal(others[name].labels, 1 - copy.labels)


def test_noise_is_the_same_whatever_the_labels(run, catalog, mislabelled):
    right, wrong = (load_radiographs(run, each, 16, WINDOW)["validation"] for each in (catalog, mislabelled))
    np.testing.assert_array_equal(replace_by_noise(wrong).pixels, replace_by_noise(right).pixels)
