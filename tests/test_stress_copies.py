"""Stress copies of validation: they depend on their file, and on what train_fit lends."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.data.simulate import simulate_radiograph
from pneumonia.transforms.augmentations import Films
from pneumonia.transforms.operations import measure_sharpness
from pneumonia.transforms.stress_copies import STRESS_COPIES, make_stress_copies

SIZES = (16, 64, 128)
EXCHANGED = ("tones", "shape", "sharpness")  # they get what a random radiograph of train_fit has
DRAWN = ("framing", "exposure", "noise", *EXCHANGED)  # the others are one and the same change for every file
ASPECTS = np.linspace(1.2, 1.5, 12)


def hashes(count: int) -> list[str]:
    return [f"{number:064x}"[::-1] for number in range(1, count + 1)]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def draw_donors(size: int, window: float = 0.0) -> Films:
    """Six simulated radiographs; half are wider, half narrower than any with ASPECTS."""
    kinds = ("NORMAL", "bacteria")
    pixels = [simulate_radiograph(kinds[n % 2], np.random.default_rng(90 + n), size) for n in range(6)]
    return Films(np.stack(pixels), np.array([0.9, 2.0] * 3), window)


def copies_of(
    images: np.ndarray, digests: list[str], name: str, aspects: np.ndarray = ASPECTS, donors: Films | None = None
) -> np.ndarray:
    films = Films(images, aspects[: len(images)])
    return make_stress_copies(films, digests, name, donors or draw_donors(images.shape[-1]))


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """Twelve simulated radiographs of more pixels than the copy "resolution" leaves, uint8 (12, 96, 96)."""
    kinds = ("NORMAL", "bacteria", "virus")
    return np.stack([simulate_radiograph(kinds[n % 3], np.random.default_rng(n), 96) for n in range(12)])


@pytest.mark.parametrize("name", STRESS_COPIES)
@pytest.mark.parametrize("size", SIZES)
def test_stress_copy_keeps_shape_and_type(name, size):
    images = np.random.default_rng(0).integers(0, 256, (4, size, size), dtype=np.uint8)
    copies = copies_of(images, hashes(4), name)
    assert (copies.shape, copies.dtype) == (images.shape, np.uint8)


@pytest.mark.parametrize("name", STRESS_COPIES)
def test_stress_copy_is_another_picture_of_the_same_chest(large, name):
    for copy, image in zip(copies_of(large, hashes(12), name), large, strict=True):
        assert not np.array_equal(copy, image)
        assert correlation(copy, image) > (0.3 if name in EXCHANGED else 0.6)


@pytest.mark.parametrize("name", STRESS_COPIES)
def test_stress_copies_do_not_depend_on_each_other(large, name):
    digests, back = hashes(12), slice(None, None, -1)
    all_at_once = copies_of(large, digests, name)
    np.testing.assert_array_equal(copies_of(large[back], digests[back], name, ASPECTS[back]), all_at_once[back])
    np.testing.assert_array_equal(copies_of(large[4:5], digests[4:5], name, ASPECTS[4:5]), all_at_once[4:5])


@pytest.mark.parametrize("name", STRESS_COPIES)
def test_stress_copies_of_two_files_are_drawn_differently_where_they_are_drawn(large, name):
    copies = copies_of(np.repeat(large[:1], 12, axis=0), hashes(12), name, np.full(12, 1.3))
    assert (len({copy.tobytes() for copy in copies}) > 1) == (name in DRAWN)


@pytest.mark.parametrize("name", STRESS_COPIES)
def test_only_what_is_exchanged_depends_on_the_donors(large, name):
    donors = draw_donors(96)
    others = Films(255 - donors.pixels, donors.aspects * 1.1)
    one, other = (copies_of(large, hashes(12), name, donors=lent) for lent in (donors, others))
    assert np.array_equal(one, other) == (name not in EXCHANGED)


def test_a_hash_for_every_image_is_demanded(chests):
    with pytest.raises(ValueError, match="zip"):
        copies_of(chests, hashes(11), "noise")


def test_tones_are_those_of_a_donor(large):
    shades = np.stack([image // 6 + 40 * number for number, image in enumerate(large[:6])]).astype(np.uint8)
    copies = copies_of(large, hashes(12), "tones", donors=Films(shades, np.ones(6)))
    gaps = np.abs(shades.mean(axis=(1, 2)) - copies.mean(axis=(1, 2))[:, None])
    assert gaps.min(axis=1).max() < 4
    assert len(set(gaps.argmin(axis=1))) > 2


def test_sharpness_is_closer_to_that_of_a_donor(large):
    lent = measure_sharpness(draw_donors(96).pixels)
    soft = np.stack([image // 4 * 2 + 32 for image in large])
    before, after = (
        np.abs(measure_sharpness(images)[:, None] - lent).mean(axis=(2, 3)).min(axis=1)
        for images in (soft, copies_of(soft, hashes(12), "sharpness"))
    )
    assert (after < before).all()


def test_shape_does_nothing_to_a_film_of_the_shape_of_the_donors(large):
    alike = Films(draw_donors(96).pixels, np.full(6, 1.3))
    np.testing.assert_array_equal(copies_of(large, hashes(12), "shape", np.full(12, 1.3), alike), large)


def test_resolution_is_that_of_64_pixels(chests, large):
    np.testing.assert_array_equal(copies_of(chests, hashes(12), "resolution"), chests)
    fine = slice(6, None)  # blocks of the spectrum beyond 64 / 96 of it
    lost = measure_sharpness(large) - measure_sharpness(copies_of(large, hashes(12), "resolution"))
    assert lost[:, fine, fine].min() > 0.5
