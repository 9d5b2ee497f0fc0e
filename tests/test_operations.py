"""Operations: each does what its name says, by the amount named."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pneumonia.transforms.operations import (
    add_noise,
    blur,
    coarsen,
    compress,
    cover,
    expose,
    mask_border,
    match_sharpness,
    match_tones,
    measure_sharpness,
    recrop,
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


def test_border_is_black_and_the_inside_untouched(chests):
    masked = mask_border(chests[0], 0.1)
    inside = slice(6, 58)
    np.testing.assert_array_equal(masked[inside, inside], chests[0][inside, inside])
    masked[inside, inside] = 0
    assert masked.max() == 0


# --- shape --------------------------------------------------------------------------------------------------------

RAMP = np.tile(np.linspace(0, 200, 101).astype(np.uint8), (101, 1))  # brighter from left to right


def seen(*shape, **options) -> tuple[tuple[float, float], tuple[float, float]]:
    """(left, right), (top, bottom) of what `recrop` keeps, as shares of the picture."""
    across, down = recrop(RAMP, *shape, **options)[50] / 200, recrop(RAMP.T.copy(), *shape, **options)[:, 50] / 200
    return (across[0], across[-1]), (down[0], down[-1])


@pytest.mark.parametrize(
    ("aspect", "donor", "across", "down"),
    [
        (1.0, 2.0, (0, 1), (0.25, 0.75)),  # a wider donor cuts the height, and nothing else
        (2.0, 1.0, (0.25, 0.75), (0, 1)),  # a narrower one the width
        (1.2, 1.5, (0, 1), (0.1, 0.9)),
        (1.4, 1.4, (0, 1), (0, 1)),
    ],
)
def test_recrop_cuts_a_stretched_film_to_the_shape_of_another(aspect, donor, across, down):
    found = seen(aspect, donor)
    np.testing.assert_allclose(found, (across, down), atol=0.02)


@pytest.mark.parametrize(
    ("aspect", "donor", "share"),
    [
        (1.6, 1.0, 0.8),  # 1.25 x 1 of it were seen; of its narrower part 1 x 0.8
        (1.0, 2.0, 0.625),  # 1 x 0.8 were seen; of its flatter part 0.625 x 0.5
        (1.6, 1.4, 1.0),  # a film wider than the window loses what was not seen
        (1.0, 1.2, 1.0),
    ],
)
def test_recrop_keeps_true_proportions_within_a_window(aspect, donor, share):
    edges = ((1 - share) / 2, (1 + share) / 2)
    np.testing.assert_allclose(seen(aspect, donor, window=1.25), (edges, edges), atol=0.02)


@pytest.mark.parametrize("window", [0.0, 1.0, 1.25])
def test_recrop_to_the_same_shape_is_the_identity(chests, window):
    np.testing.assert_array_equal(recrop(chests[0], 1.37, 1.37, window, (0.2, 0.9)), chests[0])


def test_recrop_stretches_what_is_left_to_the_frame():
    """The circle of a square film is an ellipse once cut to half the width, and flat when cut to half the height."""
    y, x = np.indices((101, 101)) - 50
    circle = np.where(x**2 + y**2 < 15**2, 255, 0).astype(np.uint8)
    for donor, ratio in ((0.5, 2.0), (2.0, 0.5)):
        rows, columns = np.nonzero(recrop(circle, 1.0, donor) > 127)
        assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(ratio, rel=0.06)


@pytest.mark.parametrize(
    ("place", "across", "down"),
    [((0, 0.3), (0, 0.5), (0, 1)), ((1, 0.3), (0.5, 1), (0, 1)), ((0.5, 0.3), (0.25, 0.75), (0, 1))],
)
def test_recrop_takes_its_part_from_the_named_place(place, across, down):
    np.testing.assert_allclose(seen(2.0, 1.0, place=place), (across, down), atol=0.02)
    np.testing.assert_allclose(seen(1.0, 2.0, place=place[::-1]), (down, across), atol=0.02)


# --- sharpness ----------------------------------------------------------------------------------------------------


def draw_texture(count: int = 4, size: int = 96) -> np.ndarray:
    """Noise as fine as the pixels, and coarse as well; its sum fills the gray levels without reaching their ends."""
    rng = np.random.default_rng(0)
    fine = rng.normal(0, 12, (count, size, size))
    coarse = np.stack([cv2.GaussianBlur(image, (0, 0), 4) for image in rng.normal(0, 120, (count, size, size))])
    return np.clip(128 + fine + coarse, 20, 235).astype(np.uint8)


def test_sharpness_is_measured_along_y_and_x():
    texture = draw_texture()
    measured = measure_sharpness(texture)
    assert (measured.shape, measured.dtype) == ((4, 8, 8), np.float32)
    assert (measured[:, 0, 0] == 0).all()
    soft = np.stack([cv2.GaussianBlur(image, (0, 0), sigmaX=1.5, sigmaY=0.01) for image in texture])
    lost = (measured - measure_sharpness(soft)).mean(axis=0)
    assert lost[0, 4:].min() > 1 and np.abs(lost[4:, 0]).max() < 0.5
    np.testing.assert_allclose(measure_sharpness(texture.transpose(0, 2, 1)), measured.transpose(0, 2, 1), atol=0.2)
    darker = (texture // 2).astype(np.uint8)  # half the contrast: no loss of detail
    assert np.abs(measure_sharpness(darker) - measured).max() < 0.3


def test_matched_sharpness_leaves_a_fraction_of_the_difference(chests):
    images, donors = chests[:6], np.stack([cv2.GaussianBlur(image, (0, 0), 1.0) for image in chests[6:]])
    for lends, takes in ((donors, images), (images, donors)):
        wanted = measure_sharpness(lends)
        difference = wanted - measure_sharpness(takes)
        left = wanted - measure_sharpness(match_sharpness(takes, difference))
        assert np.abs(difference).mean() > 0.5
        assert np.abs(left).mean() < 0.4 * np.abs(difference).mean()


def test_a_blur_along_x_is_undone():
    texture = draw_texture()
    soft = np.stack([cv2.GaussianBlur(image, (0, 0), sigmaX=0.7, sigmaY=0.01) for image in texture])
    difference = measure_sharpness(texture) - measure_sharpness(soft)
    restored = match_sharpness(soft, difference)
    left = measure_sharpness(texture) - measure_sharpness(restored)
    assert np.abs(left).mean() < 0.25 * np.abs(difference).mean()
    error = [np.abs(images.astype(int) - texture).mean() for images in (soft, restored)]
    assert error[1] < 0.5 * error[0]


def test_no_difference_in_sharpness_leaves_the_image_as_it_was(chests):
    before = chests.copy()
    same = match_sharpness(chests, np.zeros((len(chests), 8, 8), np.float32))
    assert (same.shape, same.dtype) == (chests.shape, np.uint8)
    assert np.abs(same.astype(int) - chests).max() <= 1
    np.testing.assert_array_equal(chests, before)


def test_sharpness_changes_by_a_factor_of_e_squared_at_most(chests):
    far, limit = (match_sharpness(chests, np.full((12, 8, 8), value, np.float32)) for value in (-9, -2))
    np.testing.assert_array_equal(far, limit)
    assert not np.array_equal(limit, match_sharpness(chests, np.full((12, 8, 8), -1.5, np.float32)))


def test_sharpness_of_another_image_leaves_the_mean_and_the_coarse_alone():
    waves = (128 + 60 * np.sin(np.linspace(0, 4 * np.pi, 128, endpoint=False))).astype(np.uint8)  # two cycles
    coarse, fine_only = np.tile(waves, (1, 128, 1)), np.zeros((1, 8, 8), np.float32)
    fine_only[:, 2:, 2:] = -1
    changed = match_sharpness(coarse, fine_only)
    assert np.abs(changed.astype(int) - coarse).max() <= 2
