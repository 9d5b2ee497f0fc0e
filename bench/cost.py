"""CPU seconds until 91 % of the official test split are right: our recipe in small against a popular public one.

A benchmark and nothing else: it looks at the test split after every epoch, so nothing may be chosen by it. The looks
are counted in test_looks.csv.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

from pneumonia.catalog import select_used
from pneumonia.config import ABLATION, CLAIMED_ACCURACY, ModelConfig, Run
from pneumonia.generators import build_generators, compute_class_weights, load_pixels, predict_pixels
from pneumonia.models import build_model
from pneumonia.records import hash_weights
from pneumonia.results import read_table, record_test_look
from pneumonia.training import compile_model

from .measure import open_worker, summarise

SEEDS = (0, 1, 2)
BENCHMARK, OURS, PEER = f"to {CLAIMED_ACCURACY:.0%} on test", "this project, in small", "popular public recipe"
PEER_SIZE, PEER_EPOCHS, PEER_BATCH = 150, 12, 32
LOOK = "benchmark: cost to reach the claimed accuracy, scored after every epoch; chooses nothing"


def measure_cost(run: Run, say: Callable[[str], None], epochs: int | None = None) -> pd.DataFrame:
    """Train both recipes with every seed, each in a process of its own, in turn; rows as `measure.compare` has them.

    Args: epochs: fewer than the recipes have, to see that it runs.
    """
    catalog, rows, looks = read_table(run, "catalog"), [], []
    for seed in SEEDS:
        for name, train in ((PEER, train_peer), (OURS, train_ours)):
            with open_worker({"TF_CPP_MIN_LOG_LEVEL": "3"}) as worker:
                curve, digest = worker.submit(train, run, catalog, seed, epochs).result()
            cost, reached = cost_to_reach(curve, CLAIMED_ACCURACY)
            rows.append((BENCHMARK, "cost", seed, name, cost))
            looks.append({"model": f"benchmark: {name}", "weights_hash": digest})
            passed = "passed" if reached else f"never passed (best {max(right for _, right in curve):.1%})"
            say(f"{name} seed {seed}: {passed}, {cost:.0f} CPU seconds")
    record_test_look(run, looks, LOOK)
    return summarise(pd.DataFrame(rows, columns=["benchmark", "metric", "run", "variant", "value"]))


def cost_to_reach(curve: list[tuple[float, float]], goal: float) -> tuple[float, bool]:
    """(CPU seconds, True) at the first epoch with `goal`; (those of all epochs, False) when there is none.

    Args: curve: (CPU seconds so far, accuracy) after every epoch.
    """
    for seconds, accuracy in curve:
        if accuracy >= goal:
            return seconds, True
    return curve[-1][0], False


class TestCurve(keras.callbacks.Callback):
    """After every epoch: CPU seconds since the start, without those of scoring, and accuracy at 0.5."""

    __test__ = False  # no test, whatever pytest thinks of its name

    def __init__(self, start: float, score: Callable[[keras.Model], float]):
        super().__init__()
        self.start, self.score, self.curve = start, score, []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        spent = time.process_time() - self.start
        self.curve.append((spent, self.score(self.model)))
        self.start += time.process_time() - self.start - spent


def train_ours(run: Run, catalog: pd.DataFrame, seed: int, epochs: int | None) -> tuple[list, str]:
    """The recipe of the ablation, from the files on: (curve, hash of the weights)."""
    start = time.process_time()
    config = choose_ours()
    config = replace(config, epochs=min(config.epochs, epochs or config.epochs))
    with tempfile.TemporaryDirectory() as cache:  # cold
        generators = build_generators(replace(run, cache=Path(cache)), catalog, config, seed)
    train, test = generators["train_fit"], generators["test"]
    keras.utils.set_random_seed(seed)
    model = compile_model(build_model(config), config, steps=len(train) * config.epochs)
    curve = TestCurve(start, lambda model: _accuracy(predict_pixels(model, test.pixels), test.labels))
    advance = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: train.set_epoch(epoch))
    weights = compute_class_weights(train.labels)
    options = {"epochs": config.epochs, "class_weight": weights, "shuffle": False, "verbose": 0}
    model.fit(train, callbacks=[advance, curve], **options)
    return curve.curve, hash_weights(model)


def choose_ours() -> ModelConfig:
    """The row of the ablation that is the recipe of the final series: every cure, nothing else."""
    return next(row for row in ABLATION if row.name == "ablation_aspect")


def train_peer(run: Run, catalog: pd.DataFrame, seed: int, epochs: int | None) -> tuple[list, str]:
    """The popular recipe: it learns from the whole train folder and lowers its rate by the official validation folder.

    Decoding is ours, which spares it the slower way.
    """
    import tensorflow as tf

    start, used = time.process_time(), select_used(catalog)
    with tempfile.TemporaryDirectory() as cache:
        pixels = np.array(load_pixels(replace(run, cache=Path(cache)), catalog, PEER_SIZE))[..., None] / np.float32(255)
    labels = used["label"].to_numpy(dtype=np.float32)
    folder = used["path"].str.split("/").str[0].str.lower()
    sets = {name: (pixels[folder == name], labels[folder == name]) for name in ("train", "val", "test")}
    keras.utils.set_random_seed(seed)
    model = build_peer()
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=30, zoom_range=0.2, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    curve = TestCurve(start, lambda model: _accuracy(model.predict(sets["test"][0], verbose=0), sets["test"][1]))
    plateau = keras.callbacks.ReduceLROnPlateau("val_accuracy", factor=0.3, patience=2, min_lr=1e-6)
    flow = generator.flow(*sets["train"], batch_size=PEER_BATCH, seed=seed)
    options = {"validation_data": sets["val"], "epochs": epochs or PEER_EPOCHS, "verbose": 0}
    model.fit(flow, callbacks=[plateau, curve], **options)
    return curve.curve, hash_weights(model)


def build_peer() -> keras.Model:
    """Five convolutions with batch normalisation and one dense layer: 1,246,401 parameters at 150 px; compiled."""
    inputs = x = keras.Input((PEER_SIZE, PEER_SIZE, 1))
    for width, dropout in ((32, 0), (64, 0.1), (64, 0), (128, 0.2), (256, 0.2)):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.Dropout(dropout)(x) if dropout else x
        x = layers.MaxPooling2D(2, padding="same")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.2)(layers.Dense(128, activation="relu")(layers.Flatten()(x)))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
    model.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    return model


def _accuracy(y_prob: np.ndarray, y_true: np.ndarray) -> float:
    return float(((np.ravel(y_prob) >= 0.5) == (y_true == 1)).mean())
