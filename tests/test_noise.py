"""The noise control: size and shape of the file are all that is left of a radiograph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pneumonia.data.dataset import Radiographs
from pneumonia.data.noise import replace_by_noise

SHAPES = ((300, 260), (700, 500), (1500, 900), (520, 610), (700, 500))


@pytest.fixture
def radiographs(chests) -> Radiographs:
    rows = pd.DataFrame(
        {
            "path": [f"films/{number}.jpeg" for number in range(len(SHAPES))],
            "width": [width for width, _ in SHAPES],
            "height": [height for _, height in SHAPES],
            "sha256": [f"{number:064x}"[::-1] for number in range(1, len(SHAPES) + 1)],
            "label": [0, 1, 1, 0, 1],
        }
    )
    return Radiographs(rows, chests[: len(SHAPES)], window=1.25)


def test_noise_has_the_rows_the_size_and_the_window_of_the_radiographs(radiographs):
    before = radiographs.pixels.copy()
    noise = replace_by_noise(radiographs)
    assert (noise.pixels.shape, noise.pixels.dtype) == (radiographs.pixels.shape, np.uint8)
    assert noise.window == 1.25
    pd.testing.assert_frame_equal(noise.rows, radiographs.rows)
    np.testing.assert_array_equal(radiographs.pixels, before)


def test_noise_depends_on_the_file_and_not_on_its_place(radiographs):
    all_at_once = replace_by_noise(radiographs).pixels
    np.testing.assert_array_equal(replace_by_noise(radiographs[np.arange(5)[::-1]]).pixels, all_at_once[::-1])
    np.testing.assert_array_equal(replace_by_noise(radiographs[np.array([2])]).pixels, all_at_once[2:3])
    assert not np.array_equal(all_at_once[1], all_at_once[4])  # of one size, but another file


def test_nothing_of_the_picture_remains(radiographs):
    noise = replace_by_noise(radiographs).pixels
    inverted = replace(radiographs, pixels=255 - radiographs.pixels)
    np.testing.assert_array_equal(replace_by_noise(inverted).pixels, noise)
    for left, picture in zip(noise, radiographs.pixels, strict=True):
        assert abs(np.corrcoef(left.ravel(), picture.ravel())[0, 1]) < 0.1
        assert abs(float(left.mean()) - 127.5) < 2


def test_size_and_window_go_through_the_same_chain(radiographs):
    """Averaging over more pixels leaves less noise; the stretch, and the window, shape what is left."""
    noise = replace_by_noise(radiographs).pixels
    assert noise[0].std() > 1.5 * noise[2].std()
    other = radiographs.rows.assign(width=radiographs.rows["height"], height=radiographs.rows["width"])
    turned, stretched = (
        replace_by_noise(each).pixels for each in (replace(radiographs, rows=other), replace(radiographs, window=0.0))
    )
    for changed in (turned, stretched):
        assert (changed != noise).any(axis=(1, 2)).all()


def test_noise_of_a_square_copy_is_that_of_its_original(radiographs):
    path = "test/NORMAL/IM-0001-0001.jpeg"
    known = radiographs.rows[:1].assign(path=path, width=224, height=224)
    original = known.assign(width=1857, height=1317)
    one, other = (replace_by_noise(replace(radiographs[np.array([0])], rows=rows)).pixels for rows in (known, original))
    np.testing.assert_array_equal(one, other)
