"""Training: floating-point work per image, and the share of the peak of the machine that it reaches."""

from __future__ import annotations

import importlib.util
import os
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from pneumonia.config import ModelConfig

from .measure import Measured, Meter, Variant, open_worker

BENCHMARK = "training"
BACKENDS = ("tensorflow", "jax", "torch")
PEAK_SIDE = 2048  # of the square matrices whose product gives the peak of a backend
IN_TURN, AT_ONCE = "one after the other, all cores", "at once, a core each"
ONE_THREAD = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_KEPT: dict[str, object] = {}  # the compiled network of this process


def list_variants(config: ModelConfig, images: int) -> list[Variant]:
    """Every installed backend, and TensorFlow with what could make it faster."""
    quiet, own = {"TF_CPP_MIN_LOG_LEVEL": "3"}, {"KERAS_BACKEND": "tensorflow"}  # not that of the caller
    variants = [
        Variant("tensorflow", train, (config, images), quiet | own),
        Variant("tensorflow, XLA", train, (config, images, True), quiet | own),
        Variant("tensorflow, bfloat16", train, (config, images, False, "mixed_bfloat16"), quiet | own),
    ]
    others = [name for name in BACKENDS[1:] if importlib.util.find_spec(name)]
    return variants + [Variant(name, train, (config, images), {"KERAS_BACKEND": name}) for name in others]


def train(config: ModelConfig, images: int, jit: bool = False, policy: str = "float32") -> Measured:
    """One epoch over `images` pictures of noise, augmented like radiographs, which cost as much as they do."""
    import keras

    train_set, model = _build(config, images, jit, policy)
    meter = Meter()
    model.fit(train_set, shuffle=False, verbose=0)
    measured = meter.read(BENCHMARK, images)
    peak = measure_peak()
    work = 3 * count_flops(model)  # forward, and twice that backward: by the input, and by the weights
    measured |= {
        (BENCHMARK, "work"): work / 1e6,
        (BENCHMARK, "share of peak"): 100 * work * measured[BENCHMARK, "throughput"] / peak,
        ("matrix product", "speed"): peak / 1e9,
    }
    plain = keras.backend.backend() == "tensorflow" and not jit and policy == "float32"
    return measured | measure_parts(train_set, model) if plain else measured


def list_members(config: ModelConfig, images: int) -> list[Variant]:
    """As many networks as there are cores, one after the other or at once; what a cluster on one machine gains."""
    return [Variant(name, train_members, (config, images, name == AT_ONCE)) for name in (IN_TURN, AT_ONCE)]


def train_members(config: ModelConfig, images: int, at_once: bool) -> Measured:
    """An epoch of each of as many networks as there are cores: images/s of all together."""
    members = os.cpu_count() or 1
    threads = dict.fromkeys(ONE_THREAD, "1") if at_once else {}
    with ExitStack() as stack:
        workers = [stack.enter_context(open_worker(threads)) for _ in range(members if at_once else 1)]

        def train_all() -> None:
            tasks = [workers[index % len(workers)].submit(train_epoch, config, images) for index in range(members)]
            for task in tasks:
                task.result()

        train_all()  # builds the networks
        start = time.perf_counter()
        train_all()
        return {("several members", "throughput"): members * images / (time.perf_counter() - start)}


def train_epoch(config: ModelConfig, images: int) -> None:
    """One epoch, in this process."""
    train_set, model = _build(config, images, jit=False, policy="float32")
    model.fit(train_set, shuffle=False, verbose=0)


def _build(config: ModelConfig, images: int, jit: bool, policy: str) -> tuple:
    """(generator, compiled network), made and warmed up once in this process; the mixed precision is global there."""
    if "network" not in _KEPT:
        import keras

        from pneumonia.data.generators import RadiographGenerator
        from pneumonia.models.architectures import build_model
        from pneumonia.models.training import compile_model

        keras.config.set_dtype_policy(policy)
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (images, config.image_size, config.image_size), dtype=np.uint8)
        options = {"shuffle": True, "augmentations": config.augmentations}
        train_set = RadiographGenerator(pixels, np.arange(images) % 2, config.batch_size, **options)
        model = compile_model(build_model(replace(config, pretrained=False)), config, steps=1000)
        model.jit_compile = jit or model.jit_compile
        model.fit(train_set, shuffle=False, verbose=0)
        _KEPT["network"] = train_set, model
    return _KEPT["network"]


def measure_parts(train_set, model) -> Measured:
    """CPU seconds of the generator alone, and of the network alone on batches that are ready."""
    images = len(train_set.labels)
    meter = Meter()
    batches = [train_set[index] for index in range(len(train_set))]
    measured = {("input alone", key): value for (_, key), value in meter.read("", images).items()}
    model.train_on_batch(*batches[0])  # compiles
    meter = Meter()
    for x, y in batches:
        model.train_on_batch(x, y)
    return measured | {("network alone", key): value for (_, key), value in meter.read("", images).items()}


def measure_peak(side: int = PEAK_SIDE) -> float:
    """Floating-point operations per second of a large product of float32 matrices by the backend in use."""
    import keras

    rng = np.random.default_rng(0)
    left, right = (keras.ops.convert_to_tensor(rng.random((side, side), dtype=np.float32)) for _ in range(2))
    best = float("inf")
    for _ in range(4):  # the first one may compile
        start = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(left, right))
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def count_flops(model) -> int:
    """Floating-point operations of the convolutions and dense layers for one image, forward; 2 per multiply-add."""
    import keras

    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            total += 2 * int(np.prod(layer.kernel_size)) * int(np.prod(layer.output.shape[1:]))
        elif isinstance(layer, keras.layers.Conv2D):
            height, width, channels, filters = layer.kernel.shape
            total += 2 * height * width * channels * filters * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * int(np.prod(layer.kernel.shape))
    return total
