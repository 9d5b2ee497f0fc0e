"""Builders: sizes, ranges, own scaling, learning, and saving without loss."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier
from tiny_runs import shrink

from pneumonia.config import PneumoniaError
from pneumonia.models.architectures import build_basic_cnn, build_deep_cnn, build_model, count_parameters
from pneumonia.models.baselines import flatten_pixels, metadata_features
from pneumonia.models.training import compile_model
from pneumonia.series import MODEL_SERIES, real_run

RUN = real_run(None)
BASIC, DEEP = RUN.model("basic_cnn"), RUN.model("deep_cnn")
NETWORKS = [config for config in MODEL_SERIES if config.is_cnn]


def noise(count: int, size: int) -> np.ndarray:
    """Pixels as the generators return them: float32 (count, size, size, 1) in 0-255."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1)).astype(np.float32)


def small_network(builder: str) -> keras.Model:
    """One network of either kind at 32 px; two residual stages instead of four keep the test fast."""
    if builder == "build_deep_cnn":
        return build_deep_cnn(shrink(DEEP), widths=(32, 48))
    return build_basic_cnn(shrink(BASIC))


BOTH = pytest.mark.parametrize("builder", ["build_basic_cnn", "build_deep_cnn"])


@pytest.mark.parametrize(("config", "parameters"), [(BASIC, 256_577), (DEEP, 888_673)], ids=["basic", "deep"])
def test_parameter_counts(config, parameters):
    assert config.image_size in (64, 128)
    assert count_parameters(build_model(config)) == parameters


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: config.name)
def test_networks_of_the_series_take_their_image_size_and_bear_their_name(config):
    model = build_model(config)
    assert model.input_shape == (None, config.image_size, config.image_size, 1)
    assert model.output_shape == (None, 1)
    assert model.name == config.name


def test_augmentation_does_not_change_the_network():
    for plain in ("basic_cnn", "deep_cnn"):
        sizes = [count_parameters(build_model(RUN.model(name))) for name in (plain, f"{plain}_augmented")]
        assert sizes[0] == sizes[1]


@BOTH
def test_output_is_a_probability_even_for_extreme_pixels(builder):
    model = small_network(builder)
    extremes = np.stack([np.zeros((32, 32, 1)), np.full((32, 32, 1), 255.0), noise(1, 32)[0]])
    y_prob = model.predict(extremes, verbose=0)
    assert y_prob.shape == (3, 1)
    assert ((y_prob >= 0) & (y_prob <= 1)).all()


@BOTH
def test_network_owns_its_scaling(builder):
    """What enters is 0-255; what the first convolution sees is 0-1, and nothing else may scale."""
    model = small_network(builder)
    scaling = [layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
    assert len(scaling) == 1
    inside = keras.Model(model.input, scaling[0].output).predict(noise(2, 32), verbose=0)
    np.testing.assert_allclose(inside, noise(2, 32) / 255, rtol=1e-6)


@BOTH
def test_training_moves_every_weight_and_finds_what_is_easy(builder):
    """Bright pictures are PNEUMONIA, dark ones NORMAL: a network that cannot learn that is wired wrongly."""
    keras.utils.set_random_seed(0)
    labels = np.arange(32)[:, None] % 2
    pictures = noise(32, 32) * 0.2 + 150 * labels[..., None, None]
    model = compile_model(small_network(builder), replace(BASIC, learning_rate=1e-2), steps=30)
    before = model.get_weights()
    model.fit(pictures, labels, batch_size=32, epochs=2, verbose=0)  # two, as the warm-up begins at a rate of zero
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))
    losses = model.fit(pictures, labels, batch_size=32, epochs=18, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]


@BOTH
def test_saved_network_predicts_the_same(builder, tmp_path):
    model = small_network(builder)
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    np.testing.assert_array_equal(loaded.predict(noise(5, 32), verbose=0), model.predict(noise(5, 32), verbose=0))


def test_unknown_builder_is_an_error_that_lists_the_known_ones():
    with pytest.raises(PneumoniaError, match="unknown builder 'build_vit'.*build_deep_cnn"):
        build_model(replace(BASIC, builder="build_vit"))


# --- learning rate ------------------------------------------------------------------------------------------------


def test_learning_rate_warms_up_to_its_peak_and_falls_to_zero():
    model = compile_model(small_network("build_basic_cnn"), replace(BASIC, learning_rate=0.01), steps=200)
    schedule = model.optimizer.get_config()["learning_rate"]["config"]
    rates = [float(keras.optimizers.schedules.CosineDecay.from_config(schedule)(step)) for step in range(201)]
    assert rates[0] == 0
    assert np.argmax(rates) == 10  # 5 % of 200
    assert max(rates) == pytest.approx(0.01)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) <= 0).all()
    assert rates[-1] == pytest.approx(0, abs=1e-5)


def test_one_single_step_is_a_schedule_too():
    compile_model(small_network("build_basic_cnn"), BASIC, steps=1)


# --- baselines ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Sixty files whose bytes give the label away; the metadata of an encoding must play no part."""
    labels = np.arange(60) % 4 > 0
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "path": [f"train/NORMAL/{number}.png" for number in range(60)],
            "label": labels.astype(int),
            "width": rng.integers(900, 2000, 60),
            "height": rng.integers(700, 1500, 60),
            "bytes": np.where(labels, 90_000, 500_000) + rng.integers(0, 50_000, 60),
            "jpeg_quality": np.where(labels, 75.0, 98.0),
            "mode": np.where(rng.random(60) < 0.1, "RGB", "L"),
        }
    )


def test_majority_class_predicts_the_prevalence_for_every_child(rows):
    model = build_model(RUN.model("majority")).fit(np.zeros((60, 1)), rows["label"])
    assert isinstance(model, DummyClassifier)
    assert model.predict_proba(np.ones((3, 1)))[:, 1] == pytest.approx([0.75] * 3)
    assert set(model.predict(np.ones((3, 1)))) == {1}
    assert count_parameters(model) == 1


def test_metadata_alone_find_a_label_that_the_bytes_give_away(rows):
    features = metadata_features(rows)
    np.testing.assert_allclose(features, np.log(rows[["width", "height", "bytes"]].to_numpy(dtype=float)))
    model = build_model(RUN.model("metadata_logistic")).fit(features, rows["label"])
    assert model.score(features, rows["label"]) == 1
    assert count_parameters(model) == 4


def test_metadata_do_not_depend_on_the_label_the_name_or_the_encoding(rows):
    other = rows.assign(label=1 - rows["label"], path="another/name.jpeg", jpeg_quality=np.nan, mode="RGB")
    np.testing.assert_array_equal(metadata_features(other), metadata_features(rows))


def test_metadata_of_a_known_copy_are_those_of_its_original(rows):
    copy = rows[:1].assign(path="test/NORMAL/IM-0001-0001.jpeg", width=224, height=224)
    assert np.exp(metadata_features(copy))[0] == pytest.approx([1857, 1317, rows["bytes"][0]])


def test_thumbnails_are_flattened_and_scaled():
    pixels = noise(3, 16)[..., 0].astype(np.uint8)
    features = flatten_pixels(pixels)
    assert features.shape == (3, 256)
    np.testing.assert_allclose(features[1].reshape(16, 16), pixels[1] / 255)


def test_thumbnail_regression_learns_and_counts_its_coefficients():
    labels = np.arange(40) % 2
    features = flatten_pixels(noise(40, 16)[..., 0] * 0.5 + 60 * labels[:, None, None])
    model = build_model(RUN.model("thumbnail_logistic")).fit(features, labels)
    assert model.score(features, labels) == 1
    assert count_parameters(model) == 257
