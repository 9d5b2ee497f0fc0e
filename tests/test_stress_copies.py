"""Stress copies of validation: they depend on their file alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import CHEST_LABELS

from pneumonia.data.simulate import simulate_radiograph
from pneumonia.transforms.stress_copies import STRESS_COPIES, find_donors, make_stress_copies

SIZES = (16, 64, 128)
EXCHANGED = ("tones", "aspect", "exchange")  # they get what goes with the other class


def hashes(count: int) -> list[str]:
    return [f"{number:064x}"[::-1] for number in range(1, count + 1)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def copies_of(images: np.ndarray, digests: list[str], name: str, labels: np.ndarray = CHEST_LABELS) -> np.ndarray:
    """Stress copies whose donors are three NORMAL and three PNEUMONIA simulated radiographs."""
    size = images.shape[-1]
    drawn = {
        label: np.stack([simulate_radiograph(kind, np.random.default_rng(90 + n), size) for n in range(3)])
        for label, kind in enumerate(("NORMAL", "bacteria"))
    }
    rows = pd.DataFrame({"sha256": digests, "label": labels[: len(digests)]})
    return make_stress_copies(images, rows, name, drawn)


@pytest.mark.parametrize("name", STRESS_COPIES)
@pytest.mark.parametrize("size", SIZES)
def test_stress_copy_keeps_shape_and_type(name, size):
    images = np.random.default_rng(0).integers(0, 256, (4, size, size), dtype=np.uint8)
    copies = copies_of(images, hashes(4), name)
    assert (copies.shape, copies.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("name", STRESS_COPIES)
def test_stress_copy_is_another_picture_of_the_same_chest(chests, name):
    for copy, image in zip(copies_of(chests, hashes(12), name), chests, strict=True):
        assert not np.array_equal(copy, image)
        assert correlation(copy, image) > (0.3 if name in EXCHANGED else 0.6)


@pytest.mark.parametrize("name", STRESS_COPIES)
def test_stress_copies_do_not_depend_on_each_other(chests, name):
    digests = hashes(12)
    all_at_once = copies_of(chests, digests, name)
    np.testing.assert_array_equal(copies_of(chests[::-1], digests[::-1], name, CHEST_LABELS[::-1]), all_at_once[::-1])
    np.testing.assert_array_equal(copies_of(chests[4:5], digests[4:5], name, CHEST_LABELS[4:5]), all_at_once[4:5])


@pytest.mark.parametrize("name", ["framing", "exposure", "noise"])
def test_stress_copies_of_two_files_are_drawn_differently(chests, name):
    one, other = copies_of(chests[[0, 0]], hashes(2), name)
    assert not np.array_equal(one, other)


def test_a_hash_for_every_image_is_demanded(chests):
    with pytest.raises(ValueError, match="zip"):
        copies_of(chests, hashes(11), "noise")


def test_only_train_radiographs_lend_their_tones():
    used = pd.DataFrame({"split": ["train_fit", "validation", "test", "train_fit"], "label": [0, 1, 0, 1]})
    pixels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    donors = find_donors(pixels, used)
    assert {label: images[:, 0, 0].tolist() for label, images in donors.items()} == {0: [0], 1: [3]}
