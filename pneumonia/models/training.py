"""Fit the series: seeded, recorded, resumable after a kill, and never twice when nothing changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import keras
import numpy as np
import pandas as pd

from ..config import ModelConfig, PneumoniaError, Run
from ..data.catalog import hash_catalog, select_used
from ..data.dataset import load_radiographs
from ..data.generators import build_generators, compute_class_weights
from ..records import (
    Stopwatch,
    checkpoint_path,
    finish_retraining,
    hash_file,
    installed_versions,
    load_matching_record,
    lock,
    record_path,
    save_record,
    start_retraining,
    weights_path,
)
from .architectures import build_model, count_parameters
from .baselines import baseline_features
from .pretrained import load_imagenet_weights
from .weights import describe_device, hash_weights, load_checkpoint, save_checkpoint, save_trained

DEVICES_VARIABLE = "PNEUMONIA_DEVICES"  # on how many devices each network is trained
Member = tuple[ModelConfig, int]  # a configuration and a seed


def say_now(line: str) -> None:
    """Print without delay, so that a log shows every finished epoch."""
    print(line, flush=True)


class Progress:
    """Reports how far the trainings are, and how long the rest will take at the pace seen so far."""

    def __init__(self, members: list[Member], say: Callable[[str], None] = say_now):
        self.say = say
        self.cost_left = {(config.name, seed): self.cost(config) * config.epochs for config, seed in members}
        self.spent_seconds = self.done_cost = 0.0
        self.kept = 0  # members that another process has trained meanwhile

    @staticmethod
    def cost(config: ModelConfig) -> float:
        """A rough price of one epoch, in arbitrary units: pixels, and the deep network soon shrinks its maps."""
        return config.image_size**2 * (1.0 if "basic" in config.builder else 0.7)

    def report_epoch(self, config: ModelConfig, seed: int, history: list[dict]) -> None:
        row = history[-1]
        self.spent_seconds += row["wall_seconds"]
        self.done_cost += self.cost(config)
        self.cost_left[(config.name, seed)] = self.cost(config) * (config.epochs - row["epoch"])
        left = sum(self.cost_left.values()) * self.spent_seconds / self.done_cost
        in_all = f"about {left / 60:.0f} min" if left >= 60 else "less than a minute"
        self.say(
            f"{config.name} seed {seed}  epoch {row['epoch']:2d}/{config.epochs}  loss {row['loss']:.3f}  "
            f"validation: loss {row['val_loss']:.3f}, accuracy {row['val_accuracy']:.3f}  "
            f"{row['wall_seconds']:.0f} s  {in_all} left in all"
        )


def train_in_turn(run: Run, catalog: pd.DataFrame, members: list[Member], progress: Progress) -> None:
    """Here, one after the other; `cluster.train_on_cluster` is the other way.

    Of two trainings of the same run at once, the second waits for a member that the first is at, and keeps it.
    """
    for config, seed in members:
        if not train_unless_there(run, catalog, config, seed, progress):
            progress.kept += 1


def train_unless_there(run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int, progress: Progress) -> bool:
    """Train one member if its record does not match; waits for another process that is at it. Returns: whether it was
    trained here."""
    with lock(run.cache / f"{config.name}-seed{seed}.lock", progress.say):
        if load_matching_record(run, config, seed, hash_catalog(catalog)) is not None:
            progress.cost_left.pop((config.name, seed), None)
            return False
        train_one(run, catalog, config, seed, progress)
        return True


def train_all(
    run: Run,
    catalog: pd.DataFrame,
    retrain: bool = False,
    say: Callable[[str], None] = say_now,
    train: Callable[..., None] = train_in_turn,
) -> list[dict]:
    """Train every member of the series whose record does not match (all of them with `retrain`).

    Args: train: what leaves weights and record of the members it is given.
    Returns: one training record per model and seed, in the order of the series.
    """
    if retrain:
        start_retraining(run)
    catalog_hash = hash_catalog(catalog)
    members = [(config, seed) for config in run.models for seed in run.seeds_of(config)]
    missing = [member for member in members if load_matching_record(run, *member, catalog_hash) is None]
    progress = Progress(missing, say)
    train(run, catalog, missing, progress)
    finish_retraining(run)
    trained = len(missing) - progress.kept
    say(f"trained {trained} of {len(members)} trainings; {len(members) - trained} were up to date")
    return [json.loads(record_path(run, *member).read_text()) for member in members]


def train_one(run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int, progress: Progress) -> dict:
    """Fit one model with one seed; leave its weights, and after them its record, in `run.models_dir`."""
    fit = fit_cnn if config.is_cnn else fit_baseline
    with explain_memory_error(f"{config.name} seed {seed}"):
        model, history, seconds = fit(run, catalog, config, seed, progress)
    path = weights_path(run, config, seed)
    save_trained(path, model)
    seen = config.epochs * int((select_used(catalog)["split"] == "train_fit").sum())
    record = {
        "model": config.name,
        "seed": seed,
        "config_hash": config.hash(),
        "catalog_hash": hash_catalog(catalog),
        "weights_sha256": hash_file(path),
        "weights_hash": hash_weights(model),
        "parameters": count_parameters(model),
        "epochs": config.epochs,
        **seconds,
        "images_per_second": round(seen / seconds["wall_seconds"], 1) if seen else None,
        "device": describe_device(),
        "versions": installed_versions(),
        "history": history,
    }
    save_record(run, config, seed, record)
    return record


@contextmanager
def explain_memory_error(where: str) -> Iterator[None]:
    """Turn every backend's error of too little memory into one line; earlier members and epochs are on disk."""
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__} {error}".lower().replace("_", "")
        if not any(word in text for word in ("memoryerror", "resourceexhausted", "out of memory")):
            raise
        raise PneumoniaError(f"{where}: not enough memory; lower its batch_size in series.py and run again") from error


def fit_baseline(run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int, progress: Progress) -> tuple:
    """Fit a scikit-learn baseline on train_fit: (estimator, no history, seconds)."""
    stopwatch = Stopwatch()
    train = load_radiographs(run, catalog, config.image_size, config.window)["train_fit"]
    model = build_model(config).fit(baseline_features(config, train), train.labels)
    progress.say(f"{config.name}: fitted in {stopwatch.read()['wall_seconds']:.1f} s")
    return model, [], stopwatch.read()


def fit_cnn(run: Run, catalog: pd.DataFrame, config: ModelConfig, seed: int, progress: Progress) -> tuple:
    """Fit a network for a fixed number of epochs, from its checkpoint if it has one: (model, history, seconds)."""
    identity = {"config_hash": config.hash(), "catalog_hash": hash_catalog(catalog)}
    checkpoint = checkpoint_path(run, config, seed)
    generators = build_generators(run, catalog, config, seed)
    with data_parallel():
        model, header = load_checkpoint(checkpoint, identity)
        if model is None:
            model = initialise_network(run, config, seed, steps=config.epochs * len(generators["train_fit"]))
    if header:
        progress.say(f"{config.name} seed {seed}  continuing after epoch {len(header['history'])} of {config.epochs}")
    recorder = EpochRecorder(config, seed, header.get("history", []), progress)
    recorder.save = lambda history: save_checkpoint(checkpoint, model, identity | {"history": history})
    if len(recorder.history) < config.epochs:
        fit_epochs(model, generators, recorder)
    totals = {key: round(sum(row[key] for row in recorder.history), 2) for key in ("wall_seconds", "cpu_seconds")}
    return model, recorder.history, totals


def initialise_network(run: Run, config: ModelConfig, seed: int, steps: int) -> keras.Model:
    """The compiled network of a configuration before its first of `steps` steps."""
    keras.utils.set_random_seed(seed)
    model = build_model(config)
    if config.pretrained:
        load_imagenet_weights(model, run.cache)
    return compile_model(model, config, steps)


def compile_model(
    model: keras.Model,
    config: ModelConfig,
    steps: int,
    loss: keras.losses.Loss | str | None = None,
    metrics: list[keras.metrics.Metric] | None = None,
) -> keras.Model:
    """AdamW (Loshchilov & Hutter, 2019) with 5 % linear warm-up, then cosine decay to zero over the rest of `steps`.

    Args: loss, metrics: of other outputs than one probability; None: binary cross-entropy, accuracy and ROC AUC.
    """
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, steps - warmup), warmup_target=config.learning_rate, warmup_steps=warmup
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay),
        loss=keras.losses.BinaryCrossentropy() if loss is None else loss,
        metrics=[keras.metrics.BinaryAccuracy(name="accuracy"), keras.metrics.AUC(name="roc_auc")]
        if metrics is None
        else metrics,
        # XLA halves the speed of these networks on CPU under TensorFlow; JAX knows no other way.
        jit_compile=keras.backend.backend() == "jax",
    )
    model.optimizer.build(model.trainable_variables)  # a step that makes its variables itself is traced twice
    return model


def fit_epochs(model: keras.Model, generators: dict, recorder: EpochRecorder) -> None:
    """Fit the epochs that are left. Raises: PneumoniaError when the loss is no longer a number."""
    config, train = recorder.config, generators["train_fit"]
    recorder.set_epoch = train.set_epoch
    model.fit(
        train,
        validation_data=generators["validation"],
        initial_epoch=len(recorder.history),
        epochs=config.epochs,
        class_weight=compute_class_weights(train.labels) if config.balance_classes else None,
        callbacks=[keras.callbacks.TerminateOnNaN(), recorder],
        shuffle=False,  # the generator does; Keras would shuffle its batches once more, by a state that no file keeps
        verbose=0,
    )
    if len(recorder.history) < config.epochs:
        where = f"{config.name} seed {recorder.seed}, epoch {len(recorder.history) + 1}"
        raise PneumoniaError(f"{where}: the loss is not a number any more; lower its learning_rate in series.py")


class EpochRecorder(keras.callbacks.Callback):
    """Before an epoch: its order and draws. After it: a row of history, a checkpoint, a line of progress."""

    save: Callable[[list], None]
    set_epoch: Callable[[int], None]

    def __init__(self, config: ModelConfig, seed: int, history: list, progress: Progress):
        super().__init__()
        self.config, self.seed, self.history, self.progress = config, seed, history, progress

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.set_epoch(epoch)
        self.seed_dropout(epoch)
        self.stopwatch = Stopwatch()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = dict(logs or {})
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            return  # TerminateOnNaN ends the training; the last good checkpoint stays
        measured = {name: round(float(value), 6) for name, value in logs.items()}
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.history.append({"epoch": epoch + 1} | measured | {"learning_rate": rate} | self.stopwatch.read())
        self.save(self.history)
        self.progress.report_epoch(self.config, self.seed, self.history)

    def seed_dropout(self, epoch: int) -> None:
        """Let dropout depend on (seed, epoch) alone: .keras files do not keep the state of its generators."""
        # PyTorch draws from the global state. TensorFlow does not, and would compile again if it were set.
        if keras.backend.backend() == "torch":
            keras.utils.set_random_seed(1000 * (self.seed + 1) + epoch)
        states = [variable for variable in self.model.variables if variable.name == "seed_generator_state"]
        for index, state in enumerate(states):
            state.assign([1000 * (self.seed + 1) + index, epoch << 20])


def count_devices() -> int:
    """What PNEUMONIA_DEVICES asks for; 1 without it. Raises: PneumoniaError when it is no positive number."""
    text = os.environ.get(DEVICES_VARIABLE, "1")
    if not text.isdecimal() or int(text) < 1:
        raise PneumoniaError(f"{DEVICES_VARIABLE}={text}: must be a number of devices, for example 2")
    return int(text)


def data_parallel() -> AbstractContextManager:
    """A network that is built, or loaded, and compiled within it is trained on as many devices as are asked for.

    Raises: PneumoniaError when there are not that many, or the backend cannot do it.
    """
    count, backend = count_devices(), keras.backend.backend()
    if count == 1:
        return nullcontext()
    if backend != "tensorflow":
        raise PneumoniaError(f"{DEVICES_VARIABLE}={count}: not with KERAS_BACKEND={backend}; take tensorflow")
    devices = keras.distribution.list_devices()[:count]  # GPUs, else CPU devices
    if len(devices) < count:
        raise PneumoniaError(f"{DEVICES_VARIABLE}={count}: there are {len(devices)} only; ask for no more")
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([device.upper() for device in devices]).scope()


def collect_history(records: list[dict]) -> pd.DataFrame:
    """The epochs of all networks in one table: model, seed, epoch, losses and scores (history.csv)."""
    rows = [{"model": r["model"], "seed": r["seed"]} | row for r in records for row in r["history"]]
    return pd.DataFrame(rows).drop(columns=["wall_seconds", "cpu_seconds"], errors="ignore")


def collect_training(records: list[dict]) -> pd.DataFrame:
    """What every training cost (training.csv)."""
    columns = ["model", "seed", "parameters", "epochs", "wall_seconds", "cpu_seconds", "images_per_second", "device"]
    return pd.DataFrame(records)[columns]
