"""Trained models on disk: saving and loading weights and checkpoints, and hashing them."""

from __future__ import annotations

import json
import os
import platform
import zipfile
from pathlib import Path

import joblib
import keras

from ..config import ModelConfig, PneumoniaError, Run
from ..records import hash_file, load_record, save_atomically, weights_path
from ..series import real_run


def load_trained(run: Run, config: ModelConfig, seed: int) -> object:
    """The trained model: a keras.Model, or a scikit-learn estimator for the baselines.

    Raises: PneumoniaError when the weights are missing or are not those of the record.
    """
    path, record = weights_path(run, config, seed), load_record(run, config, seed)
    if not path.exists() or record is None or record.get("weights_sha256") != hash_file(path):
        raise PneumoniaError(f"{path}: missing or not the file that its record names; run `make run` to train it")
    return keras.models.load_model(path, compile=False) if config.is_cnn else joblib.load(path)


def load_model(name: str, seed: int = 0) -> object:
    """A trained model of the committed series (models/): "robust_cnn", "basic_cnn", ...

    Networks take float images (n, size, size, 1) in 0-255 and give the probability of PNEUMONIA (n, 1), before the
    calibration (results/calibration.csv).

    Returns: a keras.Model, or a scikit-learn estimator for the baselines.
    Raises: PneumoniaError for an unknown name or seed, listing the known ones, and for missing weights.
    """
    run = real_run(None)
    config = run.model(name)
    seeds = run.seeds_of(config)
    if seed not in seeds:
        known = ", ".join(map(str, seeds))
        raise PneumoniaError(f"{name} was not trained with seed {seed}; its seeds are: {known}")
    return load_trained(run, config, seed)


def save_trained(path: Path, model: object) -> None:
    """Write a trained model without its optimiser, which only training needs and which is two thirds of the file."""

    def write(partial: Path) -> None:
        if not isinstance(model, keras.Model):
            joblib.dump(model, partial)
            return
        bare = type(model).from_config(model.get_config())  # not compiled, so there is no optimiser to save
        bare.set_weights(model.get_weights())
        bare.save(partial)
        compress_archive(partial)

    save_atomically(path, write)


def compress_archive(path: Path) -> None:
    """Compress the parts of a .keras file, which Keras only stores; weights in half precision gain most."""
    with zipfile.ZipFile(path) as archive:
        parts = [(part, archive.read(part)) for part in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for part, content in parts:
            archive.writestr(part.filename, content)


def save_checkpoint(path: Path, model: keras.Model, header: dict) -> None:
    """Model, optimiser and header in one file, so that no kill can separate them."""

    def write(partial: Path) -> None:
        model.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr("training.json", json.dumps(header))

    save_atomically(path, write)


def load_checkpoint(path: Path, expected: dict) -> tuple[keras.Model | None, dict]:
    """(model, header) to continue from; (None, {}) when there is none whose header agrees with `expected`."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("training.json"))
        if all(header[key] == value for key, value in expected.items()):
            return keras.models.load_model(path), header
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        pass  # no checkpoint, or a damaged one: start over
    return None, {}


def hash_weights(model: object) -> str:
    """Hexadecimal digits of the learned numbers alone; the hash of a file also depends on the date in it."""
    return joblib.hash(model.get_weights() if isinstance(model, keras.Model) else model)


def describe_device() -> str:
    """Backend and hardware, as far as it matters for repeating a training."""
    return f"{keras.backend.backend()} on {os.cpu_count()} CPU cores ({platform.system()} {platform.machine()})"
