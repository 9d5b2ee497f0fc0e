"""Where a Keras network sees evidence for PNEUMONIA: Grad-CAM in closed form, else occlusion.

(The shipped model computes the same map inside its ONNX graph; see export.py and inference/heatmap.py.)
"""

from __future__ import annotations

import cv2
import keras
import numpy as np
from keras import layers

from ..config import PneumoniaError
from ..inference.heatmap import compute_occlusion

BATCH = 64


def compute_evidence(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Grad-CAM where the network allows it, else occlusion with patches of a quarter of the side.

    Args: images: uint8 or float (n, h, w) in 0-255, of the size that the network takes.
    Returns: float32 (n, h, w) in 0-1; 1 is the strongest evidence for PNEUMONIA in that image.
    Raises: PneumoniaError when the images do not fit the network.
    """
    images = _check_images(model, images)
    if find_pooled_head(model) is not None:
        return compute_gradcam(model, images)
    patch = max(1, images.shape[1] // 4)
    stride = max(1, patch // 2)
    falls = [compute_occlusion(lambda batch: _predict(model, batch), image, patch, stride) for image in images]
    return scale_maps(np.stack(falls))


def compute_gradcam(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al., 2017) for the logit of PNEUMONIA, from the feature maps before global pooling.

    For a network that ends in GlobalAveragePooling2D, (Dropout), Dense(1, sigmoid), the gradient of the logit with
    respect to a feature map is everywhere its dense weight divided by the number of places. Grad-CAM therefore equals
    relu(features @ dense kernel) up to scale (the class activation map of Zhou et al., 2016; that the two are equal
    here is section 3.1 of Selvaraju et al.), needs no gradient, and is the same under every Keras backend.

    Args: images: uint8 or float (n, h, w) in 0-255.
    Returns: float32 (n, h, w), upsampled bilinearly, each map divided by its own maximum; 0 where there is no
    evidence for PNEUMONIA.
    Raises: PneumoniaError for networks without that head, or images that do not fit the network.
    """
    images, head = _check_images(model, images), find_pooled_head(model)
    if head is None:
        raise PneumoniaError(
            f"{model.name}: Grad-CAM needs a head of GlobalAveragePooling2D, (Dropout), Dense(1, sigmoid); "
            "use compute_occlusion for this network"
        )
    pooling, dense = head
    features = _predict(keras.Model(model.inputs[0], pooling.input), images)
    evidence = np.maximum(features @ keras.ops.convert_to_numpy(dense.kernel), 0)[..., 0]
    size = images.shape[2], images.shape[1]
    return scale_maps(np.stack([cv2.resize(place, size, interpolation=cv2.INTER_LINEAR) for place in evidence]))


def find_pooled_head(model: keras.Model) -> tuple[layers.Layer, layers.Layer] | None:
    """(pooling, dense) when the network ends in GlobalAveragePooling2D, (Dropout), Dense(1, sigmoid); else None."""
    tail = [layer for layer in model.layers if not isinstance(layer, layers.Dropout)][-2:]
    if len(tail) < 2 or not isinstance(tail[0], layers.GlobalAveragePooling2D) or not isinstance(tail[1], layers.Dense):
        return None
    is_head = tail[1].units == 1 and tail[1].activation is keras.activations.sigmoid
    return tuple(tail) if is_head and tail[0].data_format == "channels_last" else None


def scale_maps(maps: np.ndarray) -> np.ndarray:
    """The positive part of each map (n, h, w), divided by its maximum: float32 in 0-1. A map without any stays 0."""
    positive = np.maximum(maps, 0).astype(np.float32)
    peak = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, peak, out=np.zeros_like(positive), where=peak > 0)


def _check_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    images, expected = np.asarray(images), tuple(model.input_shape[1:3])
    if images.ndim != 3 or len(images) == 0 or images.shape[1:] != expected:
        needed = f"(n, {expected[0]}, {expected[1]})"
        raise PneumoniaError(f"{model.name}: takes images of shape {needed}, not {images.shape}; resize them")
    return images


def _predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The output for (n, h, w) images; (n,) where the network gives one number."""
    # Called directly: `predict` compiles every model again, which takes far longer than a few images do.
    batches = (images[start : start + BATCH, ..., None].astype(np.float32) for start in range(0, len(images), BATCH))
    output = np.concatenate([keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches])
    return output[:, 0] if output.shape[1:] == (1,) else output
