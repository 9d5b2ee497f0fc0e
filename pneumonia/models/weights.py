"""Trained models on disk: saving and loading weights and checkpoints, and hashing them."""

from __future__ import annotations

import json
import os
import platform
import zipfile
from pathlib import Path

import joblib
import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ..config import ModelConfig, PneumoniaError, Run
from ..records import hash_file, load_record, save_atomically, weights_path
from ..series import real_run
from .architectures import build_model


def load_trained(run: Run, config: ModelConfig, seed: int) -> object:
    """The trained model: a keras.Model, or a scikit-learn estimator for the baselines.

    Raises: PneumoniaError when the weights are missing or are not those of the record.
    """
    path, record = weights_path(run, config, seed), load_record(run, config, seed)
    if not path.exists() or record is None or record.get("weights_sha256") != hash_file(path):
        raise PneumoniaError(f"{path}: missing or not the file that its record names; run `make run` to train it")
    try:
        return keras.models.load_model(path, compile=False) if config.is_cnn else load_arrays(path, build_model(config))
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise PneumoniaError(f"{path}: cannot be loaded ({type(error).__name__}); run `make retrain`") from error


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
            with partial.open("wb") as file:  # as NumPy would otherwise append a suffix
                np.savez(file, allow_pickle=False, **list_arrays(model))
            return
        bare = type(model).from_config(model.get_config())  # not compiled, so there is no optimiser to save
        bare.set_weights(model.get_weights())
        bare.save(partial)
        compress_archive(partial)

    save_atomically(path, write)


def list_arrays(model: BaseEstimator) -> dict[str, np.ndarray]:
    """What a scikit-learn estimator has learned: attribute -> array; of the steps of a pipeline: step.attribute.

    Numbers are arrays without dimensions. A pickle would hold the same, and run any code that somebody put into it.
    """
    return {
        f"{name}.{attribute}" if name else attribute: np.asarray(value)
        for name, step in _list_steps(model).items()
        for attribute, value in vars(step).items()
        if attribute.endswith("_") or attribute == "_strategy"  # of DummyClassifier
    }


def load_arrays(path: Path, model: BaseEstimator) -> BaseEstimator:
    """`model`, as it was built, with what `list_arrays` found of it when it was saved.

    Raises: ValueError when these are not the arrays of such an estimator, or are no plain arrays.
    """
    steps = _list_steps(model)
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            step, _, attribute = name.rpartition(".")
            if step not in steps or not (attribute.endswith("_") or attribute == "_strategy") or "__" in attribute:
                raise ValueError(f"{name} is nothing that {type(model).__name__} learns")
            value = arrays[name]
            setattr(steps[step], attribute, value if value.ndim else value.item())
    check_is_fitted(model)
    return model


def _list_steps(model: BaseEstimator) -> dict[str, BaseEstimator]:
    return dict(model.steps) if isinstance(model, Pipeline) else {"": model}


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
