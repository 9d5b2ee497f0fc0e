"""Files that results depend on: where weights and training records are, whether they match, hashes, atomic writes."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

from .config import ROOT, ModelConfig, PneumoniaError, Run, short_hash

RECORDED_PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "scikit-learn", "pillow")
LOCK_SECONDS = 0.2  # between two tries
LOCKED_BYTE = 1 << 20  # Windows locks bytes, and nobody may read those: one far behind the number of the process


def weights_path(run: Run, config: ModelConfig, seed: int) -> Path:
    return run.models_dir / f"{config.name}-seed{seed}{'.keras' if config.is_cnn else '.npz'}"


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
        and not _is_to_be_retrained(run, config, seed)
    )
    return record if matches else None


def save_record(run: Run, config: ModelConfig, seed: int, record: dict) -> None:
    """Write the record of a member whose weights are there; its checkpoint is not needed any more."""
    write_json(record_path(run, config, seed), record)
    if is_retraining(run):
        _retrained_path(run, config, seed).touch()
    checkpoint_path(run, config, seed).unlink(missing_ok=True)


def start_retraining(run: Run) -> None:
    """From now on, records that are there do not count; an interrupted retraining resumes.

    It is under way as long as its folder in the cache is there, which holds a file for every member trained since.
    """
    if not is_retraining(run):
        for stale in run.cache.glob("checkpoint-*.keras"):
            stale.unlink()
        with partial_folder(_retraining_folder(run)) as folder:
            (folder / "README").write_text("`make retrain` is under way; delete this folder to cancel it\n")


def finish_retraining(run: Run) -> None:
    done = _name_partial(_retraining_folder(run))
    with suppress(FileNotFoundError):  # or another process has
        os.replace(_retraining_folder(run), done)  # in one step: half of it would be a retraining half done
    shutil.rmtree(done, ignore_errors=True)


def is_retraining(run: Run) -> bool:
    return _retraining_folder(run).is_dir()


def _is_to_be_retrained(run: Run, config: ModelConfig, seed: int) -> bool:
    return is_retraining(run) and not _retrained_path(run, config, seed).exists()


def _retrained_path(run: Run, config: ModelConfig, seed: int) -> Path:
    return _retraining_folder(run) / f"{config.name}-seed{seed}"


def _retraining_folder(run: Run) -> Path:
    return run.cache / f"retrained-{run.name}"


def save_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it into place: a kill leaves the old file or the new one.

    Each of several processes that write the same file at once has a partial file of its own; the last one wins.

    Raises: PneumoniaError when the disk is full or the folder is not writable; what was there before stays.
    """
    partial = _name_partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise PneumoniaError(
            f"{path}: cannot be written ({error.strerror or error}); {name_remedy(error)} and run again"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def partial_folder(path: Path, replace: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """An empty folder beside `path`, to be filled; then it is moved into place.

    Each of several processes that fill the same folder at once has a partial one of its own. What a kill leaves is
    removed by the next one that fills it.

    Args: replace: whether what is at `path` by then is to be replaced; otherwise it stays.
    Raises: OSError.
    """
    partial, old = _name_partial(path), _name_partial(path, "old-")
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    try:
        partial.mkdir()
        yield partial
        if path.exists() and replace():
            os.replace(path, old)
        try:
            os.replace(partial, path)
        except OSError:
            if not path.is_dir():
                raise  # otherwise another process was faster
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _name_partial(path: Path, kind: str = "") -> Path:
    """Where this process writes what is to become `path`."""
    return path.with_name(f"{_prefix()}{os.getpid()}-{kind}{path.name}")


def _prefix() -> str:
    return f".part-{short_hash(platform.node())}-"


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes of this machine left beside `path`."""
    for left in path.parent.glob(f"{glob.escape(_prefix())}*-{glob.escape(path.name)}"):
        if not _is_running(left.name.removeprefix(_prefix()).split("-")[0]):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def name_remedy(error: OSError) -> str:
    """What to do about a place that cannot be written to."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or os.strerror(errno.ENOSPC) in str(error):
        return "free the disk"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "make the folder writable"
    return "check the folder"


@contextmanager
def lock(path: Path, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock file `path`; where another process does, say which, and wait until it is done. A kill releases it.

    Where the file system knows no locks, nothing is held. Not to be taken twice by one process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        if not _try_lock(file):
            file.seek(0)
            say(f"{path.stem}: in use by process {file.read().strip() or '(unknown)'}; waiting for it")
            while not _try_lock(file):
                time.sleep(LOCK_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            _unlock(file)  # closing it would not be enough where the process has been forked since


def _try_lock(file: IO) -> bool:
    """Lock an open file; False where another process holds it."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
    return True


def _unlock(file: IO) -> None:
    with suppress(OSError):
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_UN)
        else:
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


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
    from importlib.metadata import version  # slow to import, and `predict` needs none

    found = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = version(package)
        except ImportError:
            continue
    return found


class Lock:
    """What one process at a time may write to: the next is refused. However the process ends, the system frees it.

    `.lock-<name>` beside a file, or `.lock` in a folder, says who holds it; the file may be replaced meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Raises: PneumoniaError naming the process that holds it. Where no lock can be had (a folder that cannot be
        written to, a file system without locks) there is none."""
        self.path = path / ".lock" if path.is_dir() else path.with_name(f".lock-{path.name}")
        self.file: IO | None = None
        while self.file is None:
            try:
                file = self.path.open("a+")
            except OSError:
                return
            if not _try_lock(file):
                holder = _read_holder(file)
                file.close()
                raise PneumoniaError(f"{path}: {holder} is writing to it; wait until it ends, or choose another name")
            if _is_same_file(file, self.path):
                self.file = file
            else:  # it was freed, and removed, while it was opened
                file.close()
        self.file.truncate(0)
        self.file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')},")
        self.file.flush()

    def free(self) -> None:
        if self.file is None:
            return
        if fcntl:  # while it is held, so that nobody else loses his; Windows removes no open file
            self.path.unlink(missing_ok=True)
        _unlock(self.file)
        self.file.close()
        self.file = None


def _is_same_file(file: IO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _read_holder(file: IO) -> str:
    """Who holds the lock; it may have been taken this very moment."""
    for _ in range(50):
        file.seek(0)
        if found := file.read(500).strip():
            return found
        time.sleep(0.02)
    return "another process"


class Stopwatch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self.start[0], time.process_time() - self.start[1]
        return {"wall_seconds": round(wall, 3), "cpu_seconds": round(cpu, 3)}
