"""Grad-CAM in closed form, and occlusion: do they point where the evidence is?"""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from pneumonia.config import PneumoniaError
from pneumonia.inference.heatmap import compute_occlusion
from pneumonia.models.architectures import build_model
from pneumonia.models.gradcam import compute_evidence, compute_gradcam, find_pooled_head, scale_maps
from pneumonia.series import MODEL_SERIES, simulated_run

SIDE = 32
SPOT = (slice(20, 28), slice(4, 12))  # of a bright square, rows and columns


def build_pooled(seed=0, dropout=True):
    """A small network with the head of the deep CNN, random weights."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x) if dropout else x
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="pooled")


def build_brightness(weight=1.0):
    """A network whose only evidence for PNEUMONIA is brightness (against it, with a negative weight)."""
    inputs = keras.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(1, 1, kernel_initializer="ones")(layers.Rescaling(1 / 255)(inputs))
    x = layers.GlobalAveragePooling2D()(layers.AveragePooling2D(4)(x))
    dense = layers.Dense(1, activation="sigmoid", kernel_initializer=keras.initializers.Constant(weight))
    return keras.Model(inputs, dense(x), name="brightness")


def make_images(count=3, seed=0):
    """Dark noise with one bright square each."""
    images = np.random.default_rng(seed).integers(0, 40, (count, SIDE, SIDE)).astype(np.uint8)
    images[(slice(None), *SPOT)] = 250
    return images


def logit(p):
    return np.log(p / (1 - p))


def test_gradcam_has_one_map_per_image_in_0_1():
    maps = compute_gradcam(build_pooled(), make_images())
    assert maps.shape == (3, SIDE, SIDE) and maps.dtype == np.float32
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2)).round(6)) <= {0.0, 1.0} and maps.max() == 1


def test_the_unclipped_map_adds_up_to_the_logit():
    model, images = build_pooled(), make_images()
    pooling, dense = find_pooled_head(model)
    features = keras.Model(model.inputs[0], pooling.input).predict(images[..., None].astype(np.float32), verbose=0)
    kernel, bias = (keras.ops.convert_to_numpy(weights) for weights in (dense.kernel, dense.bias))
    y_prob = model.predict(images[..., None].astype(np.float32), verbose=0)
    np.testing.assert_allclose((features @ kernel).mean(axis=(1, 2)) + bias, logit(y_prob), rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the reference takes its gradients from TensorFlow")
def test_the_closed_form_equals_gradcam_with_gradients():
    """Selvaraju et al. (2017), equations 1 and 2, written out."""
    import cv2
    import tensorflow as tf

    model, images = build_pooled(), make_images()
    pooling, dense = find_pooled_head(model)
    dense.kernel.assign(np.linspace(-1, 3, 8, dtype=np.float32)[:, None])
    features = keras.Model(model.inputs[0], pooling.input)(images[..., None].astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(features)
        score = tf.reduce_mean(features, axis=(1, 2)) @ dense.kernel + dense.bias
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    small = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    expected = scale_maps(np.stack([cv2.resize(place, (SIDE, SIDE)) for place in small]))
    assert expected.max() == 1
    np.testing.assert_allclose(compute_gradcam(model, images), expected, atol=1e-4)


def test_gradcam_points_at_the_evidence():
    maps = compute_gradcam(build_brightness(), make_images())
    inside = maps[(slice(None), *SPOT)].mean()
    assert inside > 0.7
    outside = maps.copy()
    outside[:, 16:, :16] = 0
    assert outside.max() < 0.3


def test_evidence_against_pneumonia_is_not_shown():
    assert not compute_gradcam(build_brightness(-1.0), make_images()).any()


def test_random_weights_change_the_map():
    """The sanity check of Adebayo et al. (2018): a map that survived this would show the image, not the network."""
    images = make_images()
    reference = compute_gradcam(build_brightness(), images)
    random_maps = [compute_gradcam(build_pooled(seed), images) for seed in range(8)]
    likeness = [np.corrcoef(reference.ravel(), other.ravel())[0, 1] for other in random_maps if other.any()]
    assert len(likeness) >= 2 and min(likeness) < 0.5


@pytest.mark.parametrize("dropout", [True, False])
def test_the_head_is_found_with_and_without_dropout(dropout):
    pooling, dense = find_pooled_head(build_pooled(dropout=dropout))
    assert isinstance(pooling, layers.GlobalAveragePooling2D) and dense.units == 1


def test_deep_networks_of_the_series_have_the_head_and_basic_ones_do_not():
    for config in {config.builder: config for config in MODEL_SERIES if config.is_cnn}.values():
        head = find_pooled_head(build_model(replace(config, image_size=32)))
        assert (head is not None) == (config.builder != "build_basic_cnn"), config.name


def test_a_network_without_the_head_is_refused_and_explained_by_occlusion():
    run = simulated_run(None)
    config = run.model("basic_cnn")
    model, images = build_model(config), np.zeros((2, config.image_size, config.image_size), np.uint8)
    images[:, 8:40, 8:40] = 200
    with pytest.raises(PneumoniaError, match="compute_occlusion"):
        compute_gradcam(model, images)
    maps = compute_evidence(model, images)
    assert maps.shape == images.shape and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() <= 1


def test_evidence_is_gradcam_where_there_is_a_head():
    model, images = build_pooled(), make_images()
    np.testing.assert_array_equal(compute_evidence(model, images), compute_gradcam(model, images))


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (2, SIDE, SIDE + 1), (0, SIDE, SIDE), (1, SIDE, SIDE, 1)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(PneumoniaError, match=r"pooled: takes images of shape \(n, 32, 32\)"):
        compute_gradcam(build_pooled(), np.zeros(shape, np.uint8))


def test_occlusion_finds_the_place_that_counts():
    image = make_images(1)[0]
    falls = compute_occlusion(lambda batch: batch[(slice(None), *SPOT)].mean(axis=(1, 2)) / 255, image, 8, 4)
    assert falls.shape == image.shape and falls.dtype == np.float32
    row, column = np.unravel_index(falls.argmax(), falls.shape)
    assert 20 <= row < 28 and 4 <= column < 12
    assert falls.max() > 0.4  # a pixel is hidden by squares that hide all of the spot and by some that hide a part
    np.testing.assert_allclose(falls[:12, 16:], 0, atol=1e-6)  # no square that hides these touches the spot


def test_occlusion_is_negative_where_hiding_raises_the_probability():
    image = make_images(1)[0]
    falls = compute_occlusion(lambda batch: 1 - batch[(slice(None), *SPOT)].mean(axis=(1, 2)) / 255, image, 8, 4)
    assert falls[SPOT].max() < 0


def test_every_pixel_is_hidden_at_least_once():
    falls = compute_occlusion(lambda batch: np.arange(len(batch), dtype=float), np.zeros((10, 13)), 4, 3)
    assert np.isfinite(falls).all()
    assert falls[0, 0] == 0 and falls[-1, -1] < 0  # the last square ends in the last corner


@pytest.mark.parametrize(("patch", "stride"), [(0, 1), (33, 4), (8, 0), (8, 9)])
def test_squares_that_do_not_fit_are_refused(patch, stride):
    with pytest.raises(PneumoniaError, match="0 < stride <= patch <= side"):
        compute_occlusion(lambda batch: np.zeros(len(batch)), np.zeros((SIDE, SIDE)), patch, stride)
