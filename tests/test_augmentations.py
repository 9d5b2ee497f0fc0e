"""Augmentations: random changes that leave the diagnosis alone, each one by name."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CHEST_LABELS

from pneumonia.config import PneumoniaError
from pneumonia.transforms.augmentations import AUGMENTATIONS, BATCH_AUGMENTATIONS, augment_batch
from pneumonia.transforms.operations import exchange_aspect

SIZES = (16, 64, 128)
NAMES = (*BATCH_AUGMENTATIONS, *AUGMENTATIONS)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def augment(images: np.ndarray, names, rng: np.random.Generator) -> np.ndarray:
    """With the labels of `chests`, over and over: NORMAL, bacteria, virus."""
    return augment_batch(images, np.resize(CHEST_LABELS, len(images)), names, rng)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_augmentation_keeps_shape_and_type(name, size):
    images = np.random.default_rng(0).integers(0, 256, (5, size, size), dtype=np.uint8)
    augmented = augment(images, [name], np.random.default_rng(1))
    assert (augmented.shape, augmented.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_changes_pictures_differently_and_leaves_its_input_alone(chests, name):
    before = chests.copy()
    same = np.repeat(chests[:1], 30, axis=0)
    augmented = augment(same, [name], np.random.default_rng(0))
    assert len({image.tobytes() for image in augmented}) > 1
    np.testing.assert_array_equal(chests, before)


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_still_shows_the_same_chest(chests, name):
    augmented = augment(chests, [name], np.random.default_rng(0))
    mirrored = chests[:, :, ::-1]
    for image, original, mirror in zip(augmented, chests, mirrored, strict=True):
        assert max(correlation(image, original), correlation(image, mirror)) > 0.2


def test_flip_mirrors_about_half_of_them_and_changes_nothing_else(chests):
    many = np.repeat(chests, 20, axis=0)
    flipped = augment(many, ["flip"], np.random.default_rng(0))
    mirrored = (flipped == many[:, :, ::-1]).all(axis=(1, 2))
    unchanged = (flipped == many).all(axis=(1, 2))
    assert (mirrored ^ unchanged).all()
    assert 0.4 < mirrored.mean() < 0.6


@pytest.mark.parametrize("left_out", NAMES)
def test_each_augmentation_can_be_switched_off(chests, left_out):
    names = [name for name in NAMES if name != left_out]
    without, with_all = (augment(chests, each, np.random.default_rng(0)) for each in (names, NAMES))
    assert not np.array_equal(without, with_all)


def test_no_augmentation_is_no_change(chests):
    np.testing.assert_array_equal(augment(chests, [], np.random.default_rng(0)), chests)


def test_augmentations_work_in_any_order(chests):
    for names in (("flip", "affine", "exposure"), ("exposure", "flip", "encoding", "tones", "affine")):
        augmented = augment(chests, names, np.random.default_rng(0))
        assert augmented.std() > 10


def test_same_draws_give_the_same_pictures(chests):
    first, second = (augment(chests, NAMES, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_unknown_augmentation_is_an_error_that_lists_the_known_ones(chests):
    with pytest.raises(PneumoniaError, match="unknown augmentation 'rotate'; known: flip, affine"):
        augment(chests, ("flip", "rotate"), np.random.default_rng(0))


def test_exchanged_tones_come_from_the_batch(chests):
    bright = np.clip(chests.astype(int) + 80, 0, 255).astype(np.uint8)
    mixed = np.concatenate([chests, bright])
    exchanged = augment(mixed, ["tones"], np.random.default_rng(0))
    changed = (exchanged != mixed).any(axis=(1, 2))
    assert 0.2 < changed.mean() < 0.8
    assert exchanged[:12].mean() > mixed[:12].mean() and exchanged[12:].mean() < mixed[12:].mean()


def test_exchanged_aspects_are_those_of_the_other_class(chests):
    many, labels = np.repeat(chests, 20, axis=0), np.repeat(CHEST_LABELS, 20)
    exchanged = augment_batch(many, labels, ["aspect"], np.random.default_rng(0))
    others = np.stack([exchange_aspect(image, label) for image, label in zip(many, labels, strict=True)])
    is_other, is_same = (exchanged == others).all(axis=(1, 2)), (exchanged == many).all(axis=(1, 2))
    assert (is_other ^ is_same).all()
    assert 0.4 < is_other.mean() < 0.6
