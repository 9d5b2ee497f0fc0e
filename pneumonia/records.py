"""Trained weights and their training records on disk: where they lie, whether they still match, atomic writing."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import joblib
import keras

from .config import ModelConfig, PneumoniaError, Run, short_hash

RECORDED_PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "scikit-learn", "pillow")


def weights_path(run: Run, config: ModelConfig, seed: int) -> Path:
    return run.models_dir / f"{config.name}-seed{seed}{'.keras' if config.is_cnn else '.joblib'}"


def record_path(run: Run, config: ModelConfig, seed: int) -> Path:
    return run.models_dir / f"{config.name}-seed{seed}.json"


def checkpoint_path(run: Run, config: ModelConfig, seed: int) -> Path:
    return run.cache / f"checkpoint-{config.name}-seed{seed}.keras"


def load_record(run: Run, config: ModelConfig, seed: int) -> dict | None:
    """The training record of one member, or None when there is none that can be read."""
    try:
        return json.loads(record_path(run, config, seed).read_text())
    except (OSError, ValueError):
        return None


def load_matching_record(run: Run, config: ModelConfig, seed: int, catalog_hash: str) -> dict | None:
    """The record, if its configuration, its catalog and its weights file are the ones at hand; else None."""
    record, weights = load_record(run, config, seed), weights_path(run, config, seed)
    if record is None or not weights.exists():
        return None
    matches = (
        record.get("config_hash") == config.hash()
        and record.get("catalog_hash") == catalog_hash
        and record.get("weights_sha256") == hash_file(weights)
        and record_path(run, config, seed).stat().st_mtime >= retraining_since(run)
    )
    return record if matches else None


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


def start_retraining(run: Run) -> None:
    """From now on records written earlier do not count; a killed retraining goes on where it was."""
    marker = _retraining_marker(run)
    if not marker.exists():
        for stale in run.cache.glob("checkpoint-*.keras"):
            stale.unlink()
        save_atomically(
            marker, lambda partial: partial.write_text("`make retrain` is under way; delete to call it off\n")
        )


def finish_retraining(run: Run) -> None:
    _retraining_marker(run).unlink(missing_ok=True)


def retraining_since(run: Run) -> float:
    """When the retraining under way began (seconds since the epoch); 0 when there is none."""
    marker = _retraining_marker(run)
    return marker.stat().st_mtime if marker.exists() else 0.0


def _retraining_marker(run: Run) -> Path:
    return run.cache / "retraining"


def save_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a neighbour of `path`, then move it into place: a kill leaves the old file or the new one.

    Processes that write the same file at once have a neighbour each; whoever is done last stays.

    Raises: PneumoniaError when the disk is full or the folder is not writable; what was there before stays.
    """
    begun = f".part-{short_hash(platform.node())}-"
    partial = path.with_name(f"{begun}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{begun}*-{path.name}"):
            if not _is_running(left.name.removeprefix(begun).split("-")[0]):
                left.unlink(missing_ok=True)  # of a process on this machine that was killed
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise PneumoniaError(
            f"{path}: cannot be written ({error.strerror or error}); free the disk and run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _is_running(pid: str) -> bool:
    """Whether a process may still be at work; where the system cannot be asked without harm (Windows), it may."""
    if os.name != "posix" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


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


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_weights(model: object) -> str:
    """Hexadecimal digits of the learned numbers alone; the hash of a file also changes with the date in it."""
    return joblib.hash(model.get_weights() if isinstance(model, keras.Model) else model)


def describe_device() -> str:
    """Backend and hardware, as far as it matters for repeating a training."""
    return f"{keras.backend.backend()} on {os.cpu_count()} CPU cores ({platform.system()} {platform.machine()})"


def installed_versions() -> dict[str, str]:
    """Versions of what a result can hang on."""
    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except ImportError:
            continue
    return found


class Stopwatch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        return {"wall_seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}
