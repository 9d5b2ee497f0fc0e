"""One network on several devices at once: each batch is parted among them (data parallel). Off unless asked for.

PNEUMONIA_DEVICES=2 takes the first two GPUs (or, where there is none, CPU devices that were made by hand). Gradients
are averaged over the devices, so that a network without dropout and batch normalisation learns what it would learn on
one, up to rounding, from batches that part evenly. Dropout draws on every device for itself, and batch normalisation
sees the share of its device only, as if the batch were smaller. An optional thing: the many small networks of this
project are better trained side by side, one each (`train --cluster`). TensorFlow only: Keras' DataParallel on JAX
refuses a last batch that does not part evenly.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import keras

from .config import PneumoniaError

VARIABLE = "PNEUMONIA_DEVICES"


def count_devices() -> int:
    """What PNEUMONIA_DEVICES asks for; 1 without it. Raises: PneumoniaError when it is no positive number."""
    text = os.environ.get(VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        raise PneumoniaError(f"{VARIABLE}={text}: must be a number of devices, for example 2")
    return int(text)


def data_parallel() -> AbstractContextManager:
    """Within it a network is built, or loaded, and compiled; it then lives on as many devices as are asked for.

    Raises: PneumoniaError when there are not that many, or the backend cannot do it.
    """
    count, backend = count_devices(), keras.backend.backend()
    if count == 1:
        return nullcontext()
    if backend != "tensorflow":
        raise PneumoniaError(f"{VARIABLE}={count}: not with KERAS_BACKEND={backend}; take tensorflow")
    devices = keras.distribution.list_devices()[:count]  # GPUs, else CPU devices
    if len(devices) < count:
        raise PneumoniaError(f"{VARIABLE}={count}: there are {len(devices)} only; ask for no more")
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([device.upper() for device in devices]).scope()
