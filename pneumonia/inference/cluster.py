"""An archive of radiographs on a Ray cluster: Parquet parts, each path exactly once, resumed after an interruption.

Ray Data hands the paths to a pool of actors that hold the model, and the answers come back to this process, which alone
writes: a part is there as a whole or not at all, and a block that is computed twice, because a node was lost, is
written once. The nodes read the files themselves, from storage that they share; the model is sent to them. (Not
`read_binary_files`: one file that cannot be read would end the whole run.)
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from ..config import ROOT, PneumoniaError
from ..ray_cluster import connect
from ..records import Lock
from .final_model import RECORD, FinalModel
from .reader import SQUARE, Answer, Reader
from .table import COLUMNS, FILM, SETTINGS, describe_settings

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import ray
except ImportError:  # optional: `connect` says how to get them
    pa = None

BLOCK_ROWS, PART_ROWS = 32, 4096  # of one task of an actor; of one Parquet file, at most
PART_SECONDS = 20  # a part is written at the latest: a kill loses no more, and what the actors are at
NUMBERS = ("probability", "atypicality", "threshold", "refer_from", "refer_to", "prevalence")


def predict_archive(
    paths: Iterable[Path],
    out: Path,
    address: str,
    operating_point: str,
    prevalence: float | None,
    resume: bool = False,
    original_size: tuple[int, int] | None = None,
) -> tuple[int, int, int]:
    """Answer every path into out/part-*.parquet, with table.COLUMNS but for heatmap and FILM.

    Returns: (paths that have an answer, those that could not be read, those answered now with the warning
    reader.SQUARE). With `resume`, paths that have an answer in `out` are left out, and those that could not be read are
    tried again.
    Raises: PneumoniaError when there is no cluster, or when another process writes to `out`, or it holds parts
    and `resume` is off or they were made with other settings.
    """
    reader = Reader(operating_point, prevalence, original_size=original_size)
    connect(address)
    lock = None
    try:
        make_folder(out)
        lock = Lock(out)
        done = open_parts(out, describe_settings(reader), resume)
        wanted = {to_text(path): os.fsencode(path) for path in paths}
        missing = {name: raw for name, raw in wanted.items() if name not in done}
        failed = square = 0
        with tqdm(total=len(missing), desc="reading", unit="img", disable=None) as bar:
            for part in stream_parts(missing, reader):
                write_part(part, out)
                failed += pc.sum(pc.not_equal(part["error"], "")).as_py()
                square += pc.sum(pc.match_substring(part["warnings"], SQUARE)).as_py()
                bar.update(len(part))
        return len(wanted) - failed, failed, square
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise PneumoniaError(f"--cluster {address}: was lost ({reason}); run again with --resume") from error
    finally:
        if lock:
            lock.free()
        ray.shutdown()


def stream_parts(missing: dict[str, bytes], reader: Reader) -> Iterator[pa.Table]:
    """Answers as they come in, as parts; memory here does not grow with their number."""
    if not missing:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False  # ours counts radiographs, not blocks
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("ray.data")] + ["ray.data"]:
        logging.getLogger(name).setLevel(logging.ERROR)
    names, raw = list(missing), list(missing.values())
    blocks = [
        pa.table({"path": names[start : start + BLOCK_ROWS], "raw": raw[start : start + BLOCK_ROWS]})
        for start in range(0, len(names), BLOCK_ROWS)
    ]
    files = {name: (ROOT / "models" / name).read_bytes() for name in list_model_files(reader.model)}
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    answered = ray.data.from_arrow(blocks).map_batches(
        Worker,
        fn_constructor_args=(ray.put(files), reader.operating_point, reader.prevalence, reader.original_size),
        batch_size=BLOCK_ROWS,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=1,
    )
    yield from gather(answered.iter_batches(batch_size=None, batch_format="pyarrow"))


def gather(blocks: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Parts, of PART_ROWS or of what has come in PART_SECONDS."""
    waiting, since = [], time.monotonic()
    for block in blocks:
        if len(block):
            waiting.append(block)
        if sum(map(len, waiting)) >= PART_ROWS or (waiting and time.monotonic() - since >= PART_SECONDS):
            yield pa.concat_tables(waiting)
            waiting, since = [], time.monotonic()
    if waiting:
        yield pa.concat_tables(waiting)


class Worker:
    """An actor: the model on one core of a node."""

    def __init__(self, files: object, operating_point: str, prevalence: float, original_size: tuple[int, int] | None):
        with tempfile.TemporaryDirectory() as folder:
            for name, content in ray.get(files).items():
                (Path(folder) / name).write_bytes(content)
            self.reader = Reader(operating_point, prevalence, FinalModel(Path(folder), threads=1), original_size)

    def __call__(self, batch: pa.Table) -> pa.Table:
        paths = [Path(os.fsdecode(raw)) for raw in batch["raw"].to_pylist()]
        answers = self.reader.stream(paths, workers=1)
        return tabulate(batch["path"].to_pylist(), list(answers), describe_settings(self.reader))


def tabulate(names: list[str], answers: list[Answer], settings: dict) -> pa.Table:
    """The rows of a part: text is empty, and numbers are null, where a file could not be read."""
    rows = [
        answer.row() | settings | {"path": name, "warnings": "; ".join(answer.warnings)}
        for name, answer in zip(names, answers, strict=True)
    ]
    kinds = dict.fromkeys(NUMBERS, pa.float64()) | {"refer": pa.bool_()}
    columns = [column for column in COLUMNS if column not in ("heatmap", *FILM)]
    arrays = [
        pa.array([row[column] for row in rows], kinds[column])
        if column in kinds
        else pa.array([str(row[column] or "") for row in rows], pa.string())
        for column in columns
    ]
    return pa.table(arrays, names=columns)


def make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PneumoniaError(f"{out}: cannot be made ({error.strerror}); choose another place") from error


def open_parts(out: Path, settings: dict, resume: bool) -> set[str]:
    """Paths that have an answer in `out`; rows of files that could not be read are removed, to be tried again."""
    parts = {path: read_part(path, settings) for path in sorted(out.glob("part-*.parquet"))} if resume else {}
    if not resume and any(out.glob("part-*.parquet")):
        raise PneumoniaError(f"{out}: holds answers; add --resume to continue them, or choose another folder")
    done = set()
    for path, part in parts.items():  # all of them are ours, or none is touched
        answered = part.filter(pc.equal(part["error"], ""))
        done.update(answered["path"].to_pylist())
        if len(answered) == 0:
            path.unlink()
        elif len(answered) < len(part):
            write_part(answered, out, path.name)
    return done


def read_part(path: Path, settings: dict) -> pa.Table:
    """Raises: PneumoniaError when it holds no answers, or those of another model or other settings."""
    try:
        part = pq.read_table(path)
        others = any({settings[key]} != set(part[key].to_pylist()) for key in SETTINGS)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise PneumoniaError(f"{path}: holds no answers ({str(error).splitlines()[0]}); remove it") from error
    if others:
        raise PneumoniaError(f"{path}: made with another model or settings; choose another folder")
    return part


def write_part(part: pa.Table, out: Path, name: str | None = None) -> None:
    """Under another name first, so that no half a part is left. Raises: PneumoniaError when it cannot be written."""
    target = out / (name or f"part-{uuid.uuid4().hex[:12]}.parquet")
    partial = out / f".{target.name}"
    try:
        pq.write_table(part, partial)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise PneumoniaError(f"{target}: cannot be written ({error}); free the disk, then run with --resume") from error


def list_model_files(model: FinalModel) -> list[str]:
    return [RECORD, *(part["name"] for part in model.record["files"])]


def to_text(path: Path) -> str:
    """The path as text; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
