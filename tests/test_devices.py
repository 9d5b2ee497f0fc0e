"""Data parallel training on two devices, simulated on the CPU, beside the same on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pneumonia.config import ROOT, PneumoniaError
from pneumonia.models.training import DEVICES_VARIABLE, count_devices, data_parallel

TRAIN = """
import json, sys
import keras, numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pneumonia.series import MODEL_SERIES
from pneumonia.models.training import data_parallel
from pneumonia.data.generators import RadiographGenerator
from pneumonia.models.architectures import build_model
from pneumonia.models.training import compile_model
from tiny import shrink
config = shrink(next(each for each in MODEL_SERIES if each.name == "basic_cnn"))
rng = np.random.default_rng(0)
pixels = rng.integers(0, 256, (64, 32, 32), dtype=np.uint8)
train = RadiographGenerator(pixels, rng.integers(0, 2, 64), 16, shuffle=True)
with data_parallel():
    keras.utils.set_random_seed(0)
    model = build_model(config)
    dropout = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dropout))
    dropout.rate = 0  # each device draws its own
    compile_model(model, config, steps=12)
model.fit(train, epochs=3, shuffle=False, verbose=0)
scores = model.predict(RadiographGenerator(pixels[:61], train.labels[:61], 16), verbose=0)  # 13 part unevenly
used = getattr(getattr(model, "distribute_strategy", None), "num_replicas_in_sync", None)
weights = [array.tolist() for array in model.get_weights()]
print(json.dumps({"replicas": used, "scores": scores.tolist(), "weights": weights}))
"""


def train(devices: int) -> dict:
    environment = os.environ | {
        DEVICES_VARIABLE: str(devices),
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
    }
    command, options = [sys.executable, "-c", TRAIN], {"cwd": ROOT / "tests", "env": environment}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_two_devices_learn_what_one_learns():
    one, two = train(1), train(2)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    start = max(np.abs(np.ravel(array)).max() for array in one["weights"])
    for alone, together in zip(one["weights"], two["weights"], strict=True):
        np.testing.assert_allclose(alone, together, rtol=0, atol=1e-4 * start)
    np.testing.assert_allclose(one["scores"], two["scores"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("text", ["0", "two", "-1", "1.5"])
def test_number_of_devices_must_be_one(monkeypatch, text):
    monkeypatch.setenv(DEVICES_VARIABLE, text)
    with pytest.raises(PneumoniaError, match="must be a number of devices"):
        count_devices()


def test_more_devices_than_there_are(monkeypatch):
    monkeypatch.setenv(DEVICES_VARIABLE, "99")
    with pytest.raises(PneumoniaError, match="ask for no more|take tensorflow"):
        data_parallel()
