"""Heatmaps over radiographs: strong evidence is coloured, in place, on one scale for all."""

from __future__ import annotations

import numpy as np
import pytest

from pneumonia.inference.heatmap import STOPS, color_table, draw_bar, draw_overlay, scale_evidence


def test_one_scale_for_all_radiographs():
    weak, strong = (scale_evidence(np.full((4, 4), value, np.float32), 10, 60, 40) for value in (2, 30))
    assert weak.shape == strong.shape == (40, 60)
    assert np.allclose(weak, 0.2, atol=1e-6) and np.allclose(strong, 1)


def test_evidence_against_is_not_shown():
    assert scale_evidence(np.full((4, 4), -3, np.float32), 10, 8, 8).max() == 0


def test_evidence_stays_in_its_place():
    evidence = np.zeros((4, 4), np.float32)
    evidence[0, 3] = 5  # upper right
    heat = scale_evidence(evidence, 5, 80, 40)
    assert np.unravel_index(heat.argmax(), heat.shape) >= (0, 60) and heat[20:, :40].max() == 0
    assert heat[:10, 60:].mean() > 5 * heat[10:, :].mean()


def test_evidence_covers_only_the_part_that_the_model_sees():
    heat = scale_evidence(np.full((4, 4), 5, np.float32), 5, 80, 40, (20, 0, 70, 40))
    assert (heat[:, 20:70] == 1).all() and heat[:, :20].max() == heat[:, 70:].max() == 0
    shown = np.asarray(draw_overlay(np.zeros((40, 80), np.uint8), np.zeros_like(heat), 5, (20, 0, 70, 40)))[:, :80]
    line = shown[..., 0] > 0
    assert line[:, [20, 69]].all() and line[[0, -1], 20:70].all() and not line[1:-1, 21:69].any()
    assert not line[:, :20].any() and not line[:, 70:].any()


def test_overlay_colours_what_is_strong_and_leaves_the_rest():
    pixels = np.tile(np.linspace(40, 200, 96).astype(np.uint8), (64, 1))
    heat = np.zeros((64, 96), np.float32)
    heat[:20, :30] = 1
    shown = np.asarray(draw_overlay(pixels, heat, 7))
    assert np.array_equal(shown[30:, :96], np.dstack([pixels] * 3)[30:])
    assert np.ptp(shown[:20, :30].astype(int), axis=2).min() > 20, "strong evidence is coloured"
    assert shown.shape[0] == 64 and shown.shape[1] > 96


def test_colours_rise_in_lightness():
    luma = color_table() @ [0.299, 0.587, 0.114]
    assert np.diff(luma).min() > -0.6 and luma[-1] - luma[0] > 200 and np.array_equal(color_table()[0], STOPS[0])


@pytest.mark.parametrize("height", [1, 30, 224, 2000])
def test_bar_has_the_height_of_the_picture(height):
    bar = np.asarray(draw_bar(height, 19.1))
    assert bar.shape[0] == height
    if height > 100:
        column = bar[:, round(bar.shape[1] * 1.5 / 6)].astype(int).sum(axis=1)
        inside = column[height // 5 : -height // 5]
        assert (np.diff(inside) <= 3).all(), "bright is at the top"
