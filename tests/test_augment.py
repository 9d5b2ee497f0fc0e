"""Operations, augmentations and twins: changes that leave the diagnosis alone."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.augment import (
    AUGMENTATIONS,
    TWINS,
    add_noise,
    augment_batch,
    blur,
    coarsen,
    compress,
    expose,
    make_twins,
    mask_border,
    warp,
)
from pneumonia.config import PneumoniaError
from pneumonia.simulate import simulate_radiograph

SIZES = (16, 64, 128)


@pytest.fixture(scope="module")
def chests() -> np.ndarray:
    """Twelve simulated radiographs, uint8 (12, 64, 64)."""
    kinds = ("NORMAL", "bacteria", "virus")
    return np.stack([simulate_radiograph(kinds[seed % 3], np.random.default_rng(seed), 64) for seed in range(12)])


def hashes(count: int) -> list[str]:
    return [f"{number:064x}"[::-1] for number in range(1, count + 1)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# --- operations ---------------------------------------------------------------------------------------------------


def test_operations_without_an_amount_change_nothing(chests):
    image = chests[0]
    still = warp(image, 0, 1, 1, (0, 0))
    silent = add_noise(image, 0, np.random.default_rng(0))
    for same in (still, silent, expose(image, 1, 1, 0), mask_border(image, 0), coarsen(image, 1)):
        np.testing.assert_array_equal(same, image)


def test_warp_moves_zooms_widens_and_turns_as_named():
    image = np.zeros((100, 100), np.uint8)
    image[40:60, 40:60] = 255
    rows, columns = np.nonzero(warp(image, 0, 1, 1, (0.2, 0.1)) > 127)
    assert (columns.mean(), rows.mean()) == pytest.approx((69.5, 59.5), abs=0.6)
    assert (warp(image, 0, 2, 1, (0, 0)) > 127).sum() == pytest.approx(1600, rel=0.06)
    rows, columns = np.nonzero(warp(image, 0, 1, 1.5, (0, 0)) > 127)
    assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == pytest.approx((30, 20), abs=1)
    turned = warp(np.where(np.indices((100, 100))[1] > 50, 255, 0).astype(np.uint8), 90, 1, 1, (0, 0))
    assert (turned[5:45].min(), turned[55:95].max()) == (255, 0)  # counter-clockwise: what was right is above


def test_expose_follows_gamma_contrast_and_brightness():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(expose(ramp, 2, 1, 0), 255 * (ramp / 255) ** 2, atol=0.51)
    np.testing.assert_allclose(expose(ramp, 1, 0.5, 0), 127.5 + (ramp - 127.5) / 2, atol=0.51)
    np.testing.assert_allclose(expose(ramp, 1, 1, 0.2), np.clip(ramp + 51.0, 0, 255), atol=0.51)


def test_blur_and_coarsen_and_compress_keep_the_mean_and_lose_detail(chests):
    for image in chests[:3]:
        detail = np.abs(np.diff(image.astype(int))).mean()
        for soft in (blur(image, 1.5), coarsen(image, 0.5), compress(image, 20)):
            assert soft.mean() == pytest.approx(image.mean(), abs=2)
            assert correlation(soft, image) > 0.95
        assert np.abs(np.diff(blur(image, 1.5).astype(int))).mean() < 0.9 * detail
        assert np.abs(np.diff(coarsen(image, 0.5).astype(int))).mean() < 0.9 * detail


@pytest.mark.parametrize("share", [0.5, 0.55, 0.63, 0.77])
def test_coarsening_keeps_a_flat_picture_flat_and_everything_in_its_place(share):
    flat = np.full((64, 64), 200, np.uint8)
    np.testing.assert_array_equal(coarsen(flat, share), flat)
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    np.testing.assert_allclose(coarsen(ramp, share)[:, 4:-4], ramp[:, 4:-4], atol=2)  # three would be a pixel


@pytest.mark.parametrize("deviation", [0.2, 5.0, 10.0])
def test_noise_has_the_named_deviation_and_no_bias(deviation):
    flat = np.full((200, 200), 120, np.uint8)
    noisy = add_noise(flat, deviation, np.random.default_rng(0)).astype(float)
    assert noisy.mean() == pytest.approx(120, abs=0.15)
    assert noisy.std() == pytest.approx(deviation, abs=0.3)


def test_border_is_black_and_the_inside_untouched(chests):
    masked = mask_border(chests[0], 0.1)
    inside = slice(6, 58)
    np.testing.assert_array_equal(masked[inside, inside], chests[0][inside, inside])
    masked[inside, inside] = 0
    assert masked.max() == 0


# --- augmentations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_augmentation_keeps_shape_and_type(name, size):
    images = np.random.default_rng(0).integers(0, 256, (5, size, size), dtype=np.uint8)
    augmented = augment_batch(images, [name], np.random.default_rng(1))
    assert (augmented.shape, augmented.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_changes_pictures_differently_and_leaves_its_input_alone(chests, name):
    before = chests.copy()
    same = np.repeat(chests[:1], 30, axis=0)
    augmented = augment_batch(same, [name], np.random.default_rng(0))
    assert len({image.tobytes() for image in augmented}) > 1
    np.testing.assert_array_equal(chests, before)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_still_shows_the_same_chest(chests, name):
    augmented = augment_batch(chests, [name], np.random.default_rng(0))
    mirrored = chests[:, :, ::-1]
    for image, original, mirror in zip(augmented, chests, mirrored, strict=True):
        assert max(correlation(image, original), correlation(image, mirror)) > 0.3


def test_flip_mirrors_about_half_of_them_and_changes_nothing_else(chests):
    many = np.repeat(chests, 20, axis=0)
    flipped = augment_batch(many, ["flip"], np.random.default_rng(0))
    mirrored = (flipped == many[:, :, ::-1]).all(axis=(1, 2))
    unchanged = (flipped == many).all(axis=(1, 2))
    assert (mirrored ^ unchanged).all()
    assert 0.4 < mirrored.mean() < 0.6


@pytest.mark.parametrize("left_out", AUGMENTATIONS)
def test_each_augmentation_can_be_switched_off(chests, left_out):
    names = [name for name in AUGMENTATIONS if name != left_out]
    without, with_all = (augment_batch(chests, each, np.random.default_rng(0)) for each in (names, AUGMENTATIONS))
    assert not np.array_equal(without, with_all)


def test_no_augmentation_is_no_change(chests):
    np.testing.assert_array_equal(augment_batch(chests, [], np.random.default_rng(0)), chests)


def test_augmentations_work_in_any_order(chests):
    for names in (("flip", "affine", "exposure"), ("exposure", "flip", "noise", "sharpness", "affine")):
        augmented = augment_batch(chests, names, np.random.default_rng(0))
        assert augmented.std() > 10


def test_same_draws_give_the_same_pictures(chests):
    first, second = (augment_batch(chests, AUGMENTATIONS, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_unknown_augmentation_is_an_error_that_lists_the_known_ones(chests):
    with pytest.raises(PneumoniaError, match="unknown augmentation 'rotate'; known: flip, affine"):
        augment_batch(chests, ("flip", "rotate"), np.random.default_rng(0))


# --- twins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("size", SIZES)
def test_twin_keeps_shape_and_type(name, size):
    images = np.random.default_rng(0).integers(0, 256, (4, size, size), dtype=np.uint8)
    twins = make_twins(images, hashes(4), name)
    assert (twins.shape, twins.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("name", TWINS)
def test_twin_is_another_picture_of_the_same_chest(chests, name):
    for twin, image in zip(make_twins(chests, hashes(12), name), chests, strict=True):
        assert not np.array_equal(twin, image)
        assert correlation(twin, image) > 0.6


@pytest.mark.parametrize("name", TWINS)
def test_twins_do_not_hang_on_order_or_company(chests, name):
    digests = hashes(12)
    all_at_once = make_twins(chests, digests, name)
    np.testing.assert_array_equal(make_twins(chests[::-1], digests[::-1], name), all_at_once[::-1])
    np.testing.assert_array_equal(make_twins(chests[4:5], digests[4:5], name), all_at_once[4:5])


@pytest.mark.parametrize("name", ["framing", "exposure", "noise"])
def test_twins_of_two_files_are_drawn_differently(chests, name):
    one, other = make_twins(chests[[0, 0]], hashes(2), name)
    assert not np.array_equal(one, other)


def test_a_hash_for_every_image_is_demanded(chests):
    with pytest.raises(ValueError, match="zip"):
        make_twins(chests, hashes(11), "noise")
