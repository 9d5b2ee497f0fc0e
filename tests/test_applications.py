"""The transfer row through keras.applications: built, filled from a local file, or a clear line."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumonia import applications
from pneumonia.applications import WEIGHTS_FILE, load_application_weights
from pneumonia.config import APPLICATION, PneumoniaError
from pneumonia.generators import predict_pixels
from pneumonia.models import PRETRAINED, build_model

SMALL = replace(APPLICATION, image_size=32)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model(SMALL)


def test_it_answers_for_gray_pictures(model):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32), dtype=np.uint8)
    assert ((predict_pixels(model, images) > 0) & (predict_pixels(model, images) < 1)).all()


def test_local_weights_are_taken_before_any_download(model, tmp_path, monkeypatch):
    other = build_model(SMALL)
    other.get_layer("mobilenet_v2").save_weights(tmp_path / WEIGHTS_FILE)
    monkeypatch.setattr(applications.keras.applications, "MobileNetV2", None)  # a download would fail loudly
    load_application_weights(model, tmp_path)
    for mine, saved in zip(model.layers[3].get_weights(), other.layers[3].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, saved)


def test_without_weights_one_line_says_what_to_do(model, tmp_path, monkeypatch):
    def fail(**options):
        raise OSError("URL fetch failure")

    monkeypatch.setattr(applications.keras.applications, "MobileNetV2", fail)
    with pytest.raises(PneumoniaError, match="URL fetch failure.*connect to the network") as caught:
        load_application_weights(model, tmp_path)
    assert "\n" not in str(caught.value)


def test_every_pretrained_configuration_has_a_loader():
    assert SMALL.pretrained and SMALL.builder in PRETRAINED
