"""Data parallel training on two devices, simulated on the CPU, compared with one."""

from __future__ import annotations

import os

import keras
import numpy as np
import pytest
from tiny_runs import shrink

from pneumonia.config import PneumoniaError
from pneumonia.data.generators import RadiographGenerator
from pneumonia.models.architectures import build_model
from pneumonia.models.training import DEVICES_VARIABLE, compile_model, count_devices, data_parallel
from pneumonia.series import MODEL_SERIES


def train(devices: int, results) -> None:
    """In a process of its own, whose CPU counts as two devices: send replicas, weights and predictions."""
    import tensorflow as tf

    os.environ[DEVICES_VARIABLE] = str(devices)
    tf.config.set_visible_devices([], "GPU")
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    config = shrink(next(each for each in MODEL_SERIES if each.name == "basic_cnn"))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 32, 32), dtype=np.uint8)
    generator = RadiographGenerator(pixels, rng.integers(0, 2, 64), 16, shuffle=True)
    with data_parallel():
        keras.utils.set_random_seed(0)
        model = build_model(config)
        dropout = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))
        dropout.rate = 0  # each device draws its own
        compile_model(model, config, steps=12)
    model.fit(generator, epochs=3, shuffle=False, verbose=0)
    odd = RadiographGenerator(pixels[:61], generator.labels[:61], 16)  # its last batch splits unevenly
    replicas = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", None)
    results.put((replicas, model.get_weights(), model.predict(odd, verbose=0)))


@pytest.mark.skipif("SLOW_TESTS" not in os.environ, reason="takes a minute or two: set SLOW_TESTS=1")
def test_two_devices_learn_what_one_learns(processes):
    found = []
    for devices in (1, 2):
        results = processes.Queue()
        process = processes.Process(target=train, args=(devices, results))
        process.start()
        found.append(results.get(timeout=300))
        process.join()
    (one, alone, scores), (two, together, others) = found
    assert (one, two) == (1, 2)
    start = max(np.abs(array).max() for array in alone)
    for array, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=1e-4 * start)
    np.testing.assert_allclose(scores, others, rtol=0, atol=1e-3)


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_number_of_devices_must_be_one(monkeypatch, text):
    monkeypatch.setenv(DEVICES_VARIABLE, text)
    with pytest.raises(PneumoniaError, match="must be a number of devices"):
        count_devices()


def test_more_devices_than_there_are(monkeypatch):
    monkeypatch.setenv(DEVICES_VARIABLE, "99")
    with pytest.raises(PneumoniaError, match="ask for no more|take tensorflow"):
        data_parallel()
