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


def load_trained(run: Run, config: ModelConfig, seed: int) -> object:
    """The trained model: a keras.Model, or a scikit-learn estimator for the baselines.

    Raises: PneumoniaError when the weights are missing or are not the ones that the record speaks of.
    """
    path, record = weights_path(run, config, seed), load_record(run, config, seed)
    if not path.exists() or record is None or record.get("weights_sha256") != hash_file(path):
        raise PneumoniaError(f"{path}: missing or not the file that its record names; run `make run` to train it")
    return keras.models.load_model(path, compile=False) if config.is_cnn else joblib.load(path)


def save_trained(path: Path, model: object) -> None:
    """Write a trained model without what only its training needed (the optimiser: two thirds of the file)."""

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
    """Deflate the parts of a .keras file, which Keras stores as they are; weights in half precision gain most."""
    with zipfile.ZipFile(path) as archive:
        parts = [(part, archive.read(part)) for part in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for part, content in parts:
            archive.writestr(part.filename, content)


def save_checkpoint(path: Path, model: keras.Model, header: dict) -> None:
    """Model, optimiser and header in one file, so that no kill can part them."""

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
    """Hexadecimal digits of the learned numbers alone; the hash of a file also changes with the date in it."""
    return joblib.hash(model.get_weights() if isinstance(model, keras.Model) else model)


def describe_device() -> str:
    """Backend and hardware, as far as it matters for repeating a training."""
    return f"{keras.backend.backend()} on {os.cpu_count()} CPU cores ({platform.system()} {platform.machine()})"
