"""Augmentations: random changes that leave the diagnosis alone, each one by name."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.config import PneumoniaError
from pneumonia.transforms.augmentations import AUGMENTATIONS, BATCH_AUGMENTATIONS, Films, augment_batch
from pneumonia.transforms.operations import blur, measure_sharpness, recrop

SIZES = (16, 64, 128)
NAMES = (*BATCH_AUGMENTATIONS, *AUGMENTATIONS)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def augment(images: np.ndarray, names, rng: np.random.Generator, window: float = 0.0) -> np.ndarray:
    """As if the films had been 1.0 to 1.8 times as wide as high."""
    return augment_batch(Films(images, np.linspace(1.0, 1.8, len(images)), window), names, rng)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_augmentation_keeps_shape_and_type(name, size):
    images = np.random.default_rng(0).integers(0, 256, (5, size, size), dtype=np.uint8)
    augmented = augment(images, [name], np.random.default_rng(1))
    assert (augmented.shape, augmented.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_changes_pictures_differently_and_leaves_its_input_alone(chests, name):
    before = chests.copy()
    augmented = augment(np.repeat(chests, 3, axis=0), [name], np.random.default_rng(0))
    assert len({image.tobytes() for image in augmented[:3]}) > 1  # of one radiograph
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


def test_all_tones_are_exchanged_and_every_radiograph_lends_its_own_once(chests):
    shades = np.stack([image // 6 + 16 * number for number, image in enumerate(chests)]).astype(np.uint8)
    exchanged = augment(shades, ["all_tones"], np.random.default_rng(0))
    before, after = shades.mean(axis=(1, 2)), exchanged.mean(axis=(1, 2))
    assert np.abs(after - before).max() > 20
    np.testing.assert_allclose(np.sort(after), np.sort(before), atol=3)
    for image, original in zip(exchanged, shades, strict=True):
        order = np.argsort(original.ravel(), kind="stable")
        assert (np.diff(image.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("window", [0.0, 1.25])
def test_exchanged_shapes_are_those_of_the_batch(chests, window):
    """Every second film is square, the others are twice as wide: half of them meet their own shape and stay."""
    many, aspects = np.repeat(chests, 20, axis=0), np.tile([1.0, 2.0], 120)
    exchanged = augment_batch(Films(many, aspects, window), ["shape"], np.random.default_rng(0))
    same = (exchanged == many).all(axis=(1, 2))
    for aspect in (1.0, 2.0):
        assert 0.35 < same[aspects == aspect].mean() < 0.65
    alike = augment_batch(Films(many, np.full(240, 1.4), window), ["shape"], np.random.default_rng(0))
    np.testing.assert_array_equal(alike, many)


def test_exchanged_shapes_lie_anywhere_within_the_film(chests):
    many, aspects = np.repeat(chests[:1], 40, axis=0), np.tile([1.0, 2.0], 20)
    exchanged = augment_batch(Films(many, aspects), ["shape"], np.random.default_rng(0))
    cut = [image.tobytes() for image, aspect in zip(exchanged, aspects, strict=True) if aspect == 2.0]
    centred = recrop(chests[0], 2.0, 1.0)
    assert len(set(cut)) > 5 and centred.tobytes() not in cut


def test_exchanged_sharpness_is_that_of_the_batch(chests):
    soft = np.stack([blur(image, 2) for image in chests[:6]])
    mixed = np.concatenate([soft, chests[6:]])
    exchanged = augment(mixed, ["sharpness"], np.random.default_rng(0))
    before, after = (measure_sharpness(images)[:, 2:, 2:].mean(axis=(1, 2)) for images in (mixed, exchanged))
    assert (np.abs(after - before) > 1).sum() >= 4  # soft became sharp, or sharp soft
    np.testing.assert_allclose(np.sort(after), np.sort(before), atol=1)


def test_augmentations_of_the_batch_follow_each_other(chests):
    """The second is given what the first has made of the pictures."""
    films = Films(chests, np.linspace(1.0, 1.8, 12))
    rng = np.random.default_rng(0)
    shaped = BATCH_AUGMENTATIONS["shape"](films, rng)
    expected = BATCH_AUGMENTATIONS["all_tones"](Films(shaped, films.aspects), rng)
    for names in (["shape", "all_tones"], ["all_tones", "shape"]):
        np.testing.assert_array_equal(augment_batch(films, names, np.random.default_rng(0)), expected)
