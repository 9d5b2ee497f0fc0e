"""Operations: each does what its name says, by the amount named."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.transforms.operations import (
    ASPECT_GAP,
    add_noise,
    blur,
    coarsen,
    compress,
    cover,
    exchange_aspect,
    exchange_sharpness,
    expose,
    mask_border,
    match_tones,
    shade,
    warp,
)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


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


def test_shade_brightens_one_side_only():
    flat = np.full((40, 60), 100, np.uint8)
    np.testing.assert_array_equal(shade(flat, (0, 0), (0, 0)), flat)
    across = shade(flat, (0.4, 0), (0, 0))
    assert (np.diff(across.astype(int), axis=1) >= 0).all() and (np.diff(across.astype(int), axis=0) == 0).all()
    assert across[0, -1] == pytest.approx(100 * np.exp(0.4), abs=1)


def test_matched_tones_are_those_of_the_donor_and_keep_their_order(chests):
    image, donor = chests[0], chests[1]
    matched = match_tones(image, donor)
    assert np.abs(np.quantile(matched, (0.1, 0.5, 0.9)) - np.quantile(donor, (0.1, 0.5, 0.9))).max() <= 6
    order = np.argsort(image.ravel(), kind="stable")
    assert (np.diff(matched.ravel()[order].astype(int)) >= 0).all()
    np.testing.assert_array_equal(match_tones(image, donor, share=0), image)


def test_cover_paints_the_named_box():
    covered = cover(np.zeros((20, 40), np.uint8), (0.5, 0.25), (0.25, 0.5), 200)
    assert covered[10:15, 10:30].min() == 200
    assert (covered == 200).sum() == 5 * 20


def test_exchanged_aspect_heightens_normal_widens_pneumonia_and_leaves_no_bars():
    image = np.full((100, 100), 90, np.uint8)
    image[40:60, 40:60] = 250
    for label, stretched_axis in ((0, 0), (1, 1)):
        changed = exchange_aspect(image, label)
        lengths = [np.ptp(indices) + 1 for indices in np.nonzero(changed > 170)]
        assert lengths[stretched_axis] == pytest.approx(20 * np.exp(ASPECT_GAP), abs=1)
        assert lengths[1 - stretched_axis] == pytest.approx(20, abs=1)
        assert changed[1:-1, 1:-1].min() >= 88


def test_border_is_black_and_the_inside_untouched(chests):
    masked = mask_border(chests[0], 0.1)
    inside = slice(6, 58)
    np.testing.assert_array_equal(masked[inside, inside], chests[0][inside, inside])
    masked[inside, inside] = 0
    assert masked.max() == 0


def test_exchanged_sharpness_softens_normal_sharpens_pneumonia_and_leaves_the_coarse_alone():
    image = (np.random.default_rng(0).normal(128, 20, (128, 128))).clip(0, 255).astype(np.uint8)
    softened, sharpened = exchange_sharpness(image, 0), exchange_sharpness(image, 1)
    assert softened.std() < image.std() < sharpened.std()
    assert abs(float(softened.mean()) - float(image.mean())) < 1
    waves = (128 + 60 * np.sin(np.linspace(0, 4 * np.pi, 128, endpoint=False))).astype(np.uint8)  # two cycles
    coarse = np.tile(waves, (128, 1))
    assert np.abs(exchange_sharpness(coarse, 0).astype(int) - coarse).max() <= 2
