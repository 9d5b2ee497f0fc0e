"""Corruptions: each depends on the file alone, and grows with severity."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.transforms.corruptions import CORRUPTIONS, SEVERITIES, corrupt

DIGESTS = [f"{number:064x}"[::-1] for number in range(1, 13)]


def test_there_are_sixteen_kinds_of_five_severities():
    assert len(CORRUPTIONS) == 16
    assert all(len(kind.amounts) == len(SEVERITIES) == 5 for kind in CORRUPTIONS.values())
    rises = [np.diff(kind.amounts) for kind in CORRUPTIONS.values()]
    assert all((rise > 0).all() or (rise < 0).all() for rise in rises), "severity goes one way"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_keep_form_and_input_and_grow(name, chests):
    before = chests.copy()
    levels = [corrupt(chests, DIGESTS, name, severity) for severity in SEVERITIES]
    np.testing.assert_array_equal(chests, before)
    assert all(level.shape == chests.shape and level.dtype == np.uint8 for level in levels)
    moved = [np.abs(level.astype(float) - chests).mean() for level in levels]
    assert moved[4] > 1.1 * moved[0] and moved[4] > 2
    assert moved == sorted(moved) or name == "window clipping", "it clips more, but these are narrow anyway"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_draw_depends_on_the_file_alone(name, chests):
    np.testing.assert_array_equal(
        corrupt(chests[::-1], DIGESTS[::-1], name, 3)[::-1], corrupt(chests, DIGESTS, name, 3)
    )


def test_the_same_films_stay_inverted_at_a_higher_severity(chests):
    digests = [f"{number * 7919:012x}{'0' * 52}" for number in range(12)]
    inverted = [(corrupt(chests, digests, "inversion", s) != chests).any(axis=(1, 2)) for s in SEVERITIES]
    assert all((low <= high).all() for low, high in zip(inverted, inverted[1:], strict=False))
    assert inverted[-1].all()


def test_quantum_noise_has_the_variance_of_photons():
    flat = np.full((1, 200, 200), 128, np.uint8)
    noisy = corrupt(flat, DIGESTS[:1], "quantum noise", 2)
    photons = CORRUPTIONS["quantum noise"].amounts[1]
    assert noisy.std() == pytest.approx(255 * np.sqrt(128 / 255 / photons), rel=0.05)
