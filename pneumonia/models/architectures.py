"""Builders of the model series, majority class to deep CNN. All take 0-255 pixels and own their scaling."""

from __future__ import annotations

import keras
from keras import layers
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline

from ..config import ModelConfig, PneumoniaError
from .baselines import build_file_logistic, build_majority, build_thumbnail_logistic
from .pretrained import build_efficientnet_lite0


def build_model(config: ModelConfig, **options) -> keras.Model | Pipeline | DummyClassifier:
    """The untrained model of a configuration, by the name of its builder.

    Raises: PneumoniaError when there is no such builder.
    """
    if config.builder not in BUILDERS:
        raise PneumoniaError(f"unknown builder '{config.builder}'; architectures.py has: {', '.join(BUILDERS)}")
    return BUILDERS[config.builder](config, **options)


def build_basic_cnn(config: ModelConfig) -> keras.Model:
    """Three convolutions and one dense layer, as in the work this follows (about 257 k parameters at 64 px)."""
    inputs = keras.Input((config.image_size, config.image_size, 1), name="radiograph")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    for _ in range(2):
        x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(layers.Flatten()(x))
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="pneumonia")(x), name=config.name)


def build_deep_cnn(config: ModelConfig, widths: tuple[int, ...] = (32, 64, 128, 192)) -> keras.Model:
    """A small residual network (He et al., 2016) with global average pooling (Lin et al., 2014), 0.9 M parameters.

    Strided steps average before they subsample (Zhang, 2019), so that a shift by one pixel does not change the answer.
    """
    inputs = keras.Input((config.image_size, config.image_size, 1), name="radiograph")
    x = layers.Rescaling(1 / 255)(inputs)
    x = _convolve(x, 32, kernel=5, stride=2)
    x = layers.AveragePooling2D(2)(x)
    for width in widths:
        x = _residual_block(x, width, downsample=width != widths[0])
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="pneumonia")(x), name=config.name)


def build_small_cnn(config: ModelConfig) -> keras.Model:
    """The first two stages of the deep CNN at half their width: for simulated runs, where compiling costs most."""
    return build_deep_cnn(config, widths=(16, 32))


def build_half_cnn(config: ModelConfig) -> keras.Model:
    """The deep CNN at half its width."""
    return build_deep_cnn(config, widths=(16, 32, 64, 96))


def build_wide_cnn(config: ModelConfig) -> keras.Model:
    """The deep CNN at one and a half times its width."""
    return build_deep_cnn(config, widths=(48, 96, 192, 288))


def _convolve(x, width: int, kernel: int = 3, stride: int = 1, activate: bool = True):
    x = layers.Conv2D(width, kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.ReLU()(x) if activate else x


def _residual_block(x, width: int, downsample: bool):
    if downsample:
        x = layers.AveragePooling2D(2)(x)
    shortcut = x if x.shape[-1] == width else _convolve(x, width, kernel=1, activate=False)
    x = _convolve(_convolve(x, width), width, activate=False)
    return layers.ReLU()(layers.add([shortcut, x]))


def count_parameters(model: object) -> int:
    """Trainable and other weights of a network; coefficients of a logistic regression; 1 for the majority class."""
    if isinstance(model, keras.Model):
        return model.count_params()
    fitted = [step for step in model if hasattr(step, "coef_")] if isinstance(model, Pipeline) else []
    return sum(step.coef_.size + step.intercept_.size for step in fitted) or 1


BUILDERS = {  # by the name that a configuration gives (series.py)
    builder.__name__: builder
    for builder in (
        *(build_majority, build_file_logistic, build_thumbnail_logistic),
        *(build_basic_cnn, build_deep_cnn, build_efficientnet_lite0),
        *(build_small_cnn, build_half_cnn, build_wide_cnn),
    )
}
