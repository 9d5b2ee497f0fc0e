"""Masks: which pixels are hidden, and that only those change."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.studies.masking import MASKS, hide, mask_area

DIGESTS = [f"{number:064x}"[::-1] for number in range(1, 13)]


@pytest.mark.parametrize("side", [16, 224])
def test_masks_and_their_counterparts_fill_the_picture(side):
    for name in ("lungs", "border"):
        np.testing.assert_array_equal(MASKS[name](side), ~MASKS[f"all but {name}"](side))
    assert mask_area("nothing") == 0 and mask_area("whole") == 1
    assert mask_area("centre") == pytest.approx(0.25) and mask_area("border") == pytest.approx(1 - 0.8**2, abs=0.01)


def test_hidden_pixels_are_gray_and_the_others_as_they_were(chests):
    hidden, where = hide(chests, DIGESTS, "lungs"), MASKS["lungs"](64)
    assert (hidden[:, where] == 128).all()
    np.testing.assert_array_equal(hidden[:, ~where], chests[:, ~where])
    assert 0.3 < where.mean() < 0.5
