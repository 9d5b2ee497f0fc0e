"""Input pipelines: ours against what Keras offers for a folder of images."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import keras
import pandas as pd

from pneumonia.config import Run
from pneumonia.data.catalog import audit_files, iterate_files
from pneumonia.data.dataset import load_radiographs
from pneumonia.data.generators import RadiographGenerator
from pneumonia.data.pixels import load_pixels, store_pixels
from pneumonia.series import real_run

from .measure import Measured, Meter, Variant, peak_memory

BATCH = 64
AUGMENTATIONS = ("flip", "affine")  # what all pipelines can do
# The same in the terms of Keras: 12 degrees, 20 % zoom, 8 % shift, flips.
LEGACY_AUGMENTATION = {
    "rotation_range": 12,
    "zoom_range": 0.2,
    "width_shift_range": 0.08,
    "height_shift_range": 0.08,
    "horizontal_flip": True,
}
OURS, FLOW = "pneumonia", "flow_from_directory"
PLAIN, CACHED = "image_dataset_from_directory", "image_dataset_from_directory, cached"
READERS = (FLOW, PLAIN, CACHED, OURS)
MEMORY_AT_START = peak_memory()  # of the process that measures one reader; Keras and its backend are loaded


def list_variants(source: str, folder: Path, size: int, augmented: bool) -> list[Variant]:
    """The readers of one folder of files, `source` being what readers of the table see."""
    return [Variant(name, read_everything, (name, source, folder, size, augmented)) for name in READERS]


def read_everything(reader: str, source: str, folder: Path, size: int, augmented: bool) -> Measured:
    """A first pass from the files, a later one, and a later one with augmentation; all as batches of 64 in memory.

    Our first pass includes the audit of the files and writing the cache.
    """
    images = sum(1 for _ in iterate_files(folder))
    meter = Meter()
    passes = OPENERS[reader](folder, size, False)
    consume(passes)
    measured = meter.read(f"{source}, first pass", images)
    measured |= measure_pass(f"{source}, later passes", images, passes)
    measured[f"{source}, first pass", "memory"] = peak_memory() - MEMORY_AT_START
    if augmented:
        passes = OPENERS[reader](folder, size, True)
        if reader == CACHED:
            consume(passes)  # fills the cache; ours is filled
        measured |= measure_pass(f"{source}, later passes, augmented", images, passes)
    return measured


def measure_pass(benchmark: str, images: int, passes: Callable[[], Iterable]) -> Measured:
    meter = Meter()
    consume(passes)
    return meter.read(benchmark, images)


def consume(passes: Callable[[], Iterable]) -> None:
    for _ in passes():
        pass


def open_ours(folder: Path, size: int, augmented: bool) -> Callable[[], Iterable]:
    """Audit, decode (unless a later pass finds the cache), and generate."""
    run = replace(real_run(folder), cache=folder / "cache")
    catalog_path = run.cache / "catalog.csv"
    if not augmented:
        for file in run.cache.glob("*"):
            file.unlink()
        rows, images = audit_files(folder, size)
        catalog = pd.DataFrame(rows)  # repeated files are kept here
        run.cache.mkdir(exist_ok=True)
        catalog.to_csv(catalog_path, index=False)
        store_pixels(run, catalog, images, size)
    else:
        catalog = pd.read_csv(catalog_path, keep_default_na=False)
    radiographs, names = load_radiographs(run, catalog, size), AUGMENTATIONS if augmented else ()
    generator = RadiographGenerator(radiographs.pixels, radiographs.labels, BATCH, shuffle=True, augmentations=names)
    return lambda: map(generator.__getitem__, range(len(generator)))


def open_flow(folder: Path, size: int, augmented: bool) -> Callable[[], Iterable]:
    """ImageDataGenerator, which Keras 3 keeps for old code only."""
    import tensorflow as tf

    generator = tf.keras.preprocessing.image.ImageDataGenerator(**(LEGACY_AUGMENTATION if augmented else {}))
    options = {"color_mode": "grayscale", "class_mode": "binary", "batch_size": BATCH, "interpolation": "bilinear"}
    with redirect_stdout(io.StringIO()):  # it prints how many images it found
        flow = generator.flow_from_directory(str(folder / "train"), target_size=(size, size), **options)
    return lambda: (next(flow) for _ in range(len(flow)))


def open_dataset(folder: Path, size: int, augmented: bool, cached: bool = False) -> Callable[[], Iterable]:
    """image_dataset_from_directory; augmented by the layers of Keras, in parallel."""
    import tensorflow as tf

    options = {"color_mode": "grayscale", "label_mode": "binary", "batch_size": BATCH, "verbose": False}
    dataset = keras.utils.image_dataset_from_directory(str(folder / "train"), image_size=(size, size), **options)
    dataset = dataset.cache() if cached else dataset
    if augmented:
        layers = keras.Sequential(
            [
                keras.layers.RandomFlip("horizontal"),
                keras.layers.RandomRotation(12 / 360),
                keras.layers.RandomZoom(0.2),
                keras.layers.RandomTranslation(0.08, 0.08),
            ]
        )
        dataset = dataset.map(lambda x, y: (layers(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    return lambda: dataset


def open_cached(folder: Path, size: int, augmented: bool) -> Callable[[], Iterable]:
    return open_dataset(folder, size, augmented, cached=True)


def open_cache(run: Run, catalog: pd.DataFrame, size: int) -> Measured:
    """Seconds until the decoded pixels of the whole archive can be used, when they were decoded before."""
    load_pixels(run, catalog, size)
    meter = Meter()
    pixels = load_pixels(run, catalog, size)
    seconds = len(pixels) / meter.read("", len(pixels))["", "throughput"]
    return {("cache opened", "time"): seconds}


OPENERS = {FLOW: open_flow, PLAIN: open_dataset, CACHED: open_cached, OURS: open_ours}
