"""Files that results depend on: where weights and training records are, whether they match, hashes, atomic writes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from .config import ROOT, ModelConfig, PneumoniaError, Run, short_hash

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
    """The record, if configuration, catalog and weights file match it; else None."""
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


def start_retraining(run: Run) -> None:
    """From now on, records written earlier do not count; an interrupted retraining resumes."""
    marker = _retraining_marker(run)
    if not marker.exists():
        for stale in run.cache.glob("checkpoint-*.keras"):
            stale.unlink()
        save_atomically(
            marker, lambda partial: partial.write_text("`make retrain` is under way; delete this file to cancel it\n")
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
    """Let `write` fill a file beside `path`, then move it into place: a kill leaves the old file or the new one.

    Each of several processes that write the same file at once has a partial file of its own; the last one wins.

    Raises: PneumoniaError when the disk is full or the folder is not writable; what was there before stays.
    """
    prefix = f".part-{short_hash(platform.node())}-"
    partial = path.with_name(f"{prefix}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{prefix}*-{path.name}"):
            if not _is_running(left.name.removeprefix(prefix).split("-")[0]):
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


def write_json(path: Path, value: object) -> None:
    """Write a JSON file atomically; same errors as `save_atomically`."""
    text = json.dumps(value, indent=1) + "\n"
    save_atomically(path, lambda partial: partial.write_text(text))


def _is_running(pid: str) -> bool:
    """Whether a process may still be running; yes where asking could do harm (Windows)."""
    if os.name != "posix" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


@cache
def hash_sources(*patterns: str) -> str:
    """SHA-256 of all files of the repository that match one of the patterns."""
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def installed_versions() -> dict[str, str]:
    """Versions of what a result can depend on."""
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
