"""`python -m pneumonia predict`: radiographs in; a table, JSON lines, a CSV file and heatmaps out."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TextIO

from PIL import Image
from tqdm import tqdm

from ..config import PneumoniaError
from ..data.sizes import describe_unknown_proportions
from ..interrupts import INTERRUPTED, happened, held, raised
from .inputs import count, expand, read_list
from .reader import SQUARE, Answer, Reader, explain
from .table import AnswerTable, describe_film, describe_settings, name_remedy, shorten, to_cell

ALL_READ, SOME_UNREADABLE, NOTHING_USABLE = 0, 1, 2
NOT_FOR_CLINICAL_USE = "Not for clinical use."
LONGEST = 600  # characters of a name or an error on the terminal
ROW = "{:>11}  {:<9}  {:<5}  {}"


def predict(options: argparse.Namespace) -> int:
    """Answer every radiograph that `options.paths` names; returns the exit status.

    Raises: PneumoniaError when an argument is wrong, the model cannot be loaded, or an output cannot be written.
    """
    if options.batch_size < 1 or options.workers < 1:
        raise PneumoniaError("--batch-size and --workers: must be 1 or more")
    if options.resume and options.csv is None and options.out is None:
        raise PneumoniaError("--resume: continues a CSV file or a folder of parts; name it with --csv or --out")
    options.original_size = parse_size(options.original_size)
    try:
        return _answer_on_cluster(options) if options.cluster or options.out else _answer_here(options)
    except BaseException as error:
        if not (isinstance(error, KeyboardInterrupt) or happened()):  # a library may have made another error of it
            raise
        hint = "; add --resume to continue" if options.csv or options.out else ""
        print(f"pneumonia: interrupted{hint}", file=sys.stderr)
        return INTERRUPTED


def _answer_here(options: argparse.Namespace) -> int:
    reader = Reader(options.operating_point, options.prevalence, original_size=options.original_size)
    with raised():  # there is something to lose only from here on
        table = None
        if options.csv:
            table = AnswerTable(options.csv, describe_settings(reader), options.resume, options.heatmap is not None)
        try:
            return _answer_all(options, reader, table)
        except BrokenPipeError:  # `| head` has seen enough
            _leave_standard_output()
            return ALL_READ
        finally:
            if table:
                with held():
                    table.close()


def _answer_all(options: argparse.Namespace, reader: Reader, table: AnswerTable | None) -> int:
    total = count(options.paths) if sys.stderr.isatty() else None
    show = _Printer(options, reader, quiet=table is not None)
    queue = _Queue(table)
    counts = Counter()
    with closing(reader.stream(queue.take(_expand(options)), options.batch_size, options.workers)) as answers:
        rest = total and total - len(table.done if table else ())
        bar = tqdm(answers, "reading", rest, unit="img", disable=None, delay=1, smoothing=0.05)
        for batch in _batches(iter(bar), options.batch_size):
            rows = [_make_row(answer, options.heatmap) | queue.films.pop(answer.path, {}) for answer in batch]
            for row in rows:
                counts.update(_count(row))
                if row["error"]:
                    tqdm.write(f"pneumonia: {printable(row['error'])}", file=sys.stderr)
                show(row)
            if table:
                with held():
                    table.write(rows)
    _print(flush=True)
    read, failed = counts["read"] + queue.counts["done"], counts["failed"]
    status = _status(read, failed)
    _warn(counts["square"], counts["read"])
    if table:
        queue.warn_of_changes(table.path)
        flagged, referred = (counts[key] + queue.counts[key] for key in ("flagged", "referred"))
        before = f" ({queue.counts['done']:,} of them before)" if queue.counts["done"] else ""
        line = f"{read:,} read{before}, {failed:,} failed, {flagged:,} flagged, {referred:,} referred"
        _print(f"{printable(str(table.path))}: {line}. {NOT_FOR_CLINICAL_USE}", sys.stderr if options.json else None)
    return status


def _expand(options: argparse.Namespace) -> Iterator[Path]:
    return expand(options.paths, read_list(getattr(sys.stdin, "buffer", None)))


def _answer_on_cluster(options: argparse.Namespace) -> int:
    if not (options.cluster and options.out) or options.csv or options.json or options.heatmap:
        raise PneumoniaError("--cluster and --out: go together, and with none of --csv, --json and --heatmap")
    from .cluster import predict_archive

    settings = options.operating_point, options.prevalence, options.resume, options.original_size
    with raised():
        read, failed, square = predict_archive(_expand(options), options.out, options.cluster, *settings)
    status = _status(read, failed)
    _warn(square, read)
    _print(f"{options.out}: {read:,} read, {failed:,} could not be (column error). {NOT_FOR_CLINICAL_USE}")
    return status


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Width and height of a text such as 1857x1317. Raises: PneumoniaError."""
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise PneumoniaError(f"--original-size {text}: must be WIDTHxHEIGHT in pixels, such as 1857x1317")
    return int(width), int(height)


def _warn(square: int, read: int) -> None:
    """Once, whatever the number of files: what may be wrong with square ones."""
    if square:
        size = "or --original-size WIDTHxHEIGHT (their own size, where they are originals)"
        print(f"pneumonia: {describe_unknown_proportions(square, read)}, {size}", file=sys.stderr)


class _Queue:
    """The paths that wait for an answer; of those that have one in the table, what the answers were."""

    def __init__(self, table: AnswerTable | None):
        self.done = table.done if table else {}
        self.keeps_films = table is not None
        self.counts, self.changed = Counter(), []
        self.films: dict[str, dict] = {}  # path -> size and time, before it is read

    def take(self, paths: Iterator[Path]) -> Iterator[Path]:
        for path in paths:
            row = self.done.get(to_cell(str(path))) if self.done else None
            if row is None:
                if self.keeps_films:
                    self.films[str(path)] = describe_film(path)
                yield path
                continue
            self.counts.update(done=1, flagged=row.flagged, referred=row.referred)
            now = tuple(map(str, describe_film(path).values()))
            if all(row.film) and now and now != row.film:
                self.changed.append(str(path))

    def warn_of_changes(self, table: Path) -> None:
        if self.changed:
            first = printable(self.changed[0])
            print(
                f"pneumonia: {len(self.changed):,} answered before and changed since, such as {first}; their old "
                f"answers stay: remove these rows from {printable(str(table))} and run again to renew them",
                file=sys.stderr,
            )


def _count(row: dict) -> Counter:
    """What a row adds to the numbers of a run."""
    return Counter(
        read=row["error"] is None,
        failed=row["error"] is not None,
        flagged=bool(row["warnings"]),
        referred=bool(row["refer"]),
        square=SQUARE in row["warnings"],
    )


def _status(read: int, failed: int) -> int:
    if read + failed == 0:
        raise PneumoniaError("no radiographs found; name image files, or a folder that holds some")
    if failed:
        return SOME_UNREADABLE if read else NOTHING_USABLE
    return ALL_READ


def _batches(answers: Iterator[Answer], size: int) -> Iterator[list[Answer]]:
    while batch := list(itertools.islice(answers, size)):
        yield batch


class _Printer:
    """Writes rows to standard output: JSON lines, or a table for people."""

    def __init__(self, options: argparse.Namespace, reader: Reader, quiet: bool):
        self.as_json, self.quiet, self.settings = options.json, quiet and not options.json, describe_settings(reader)
        if not self.as_json and not self.quiet:
            name, digest = (self.settings[key] for key in ("model", "model_hash"))
            threshold, low, high = (self.settings[key] for key in ("threshold", "refer_from", "refer_to"))
            _print(
                f"{name} ({digest}), {reader.operating_point}, prevalence {100 * reader.prevalence:g} %: PNEUMONIA "
                f"from {threshold:.3f}, too close to call from {low:.3f} to {high:.3f}. {NOT_FOR_CLINICAL_USE}"
            )
            _print(ROW.format("probability", "call", "refer", "file"))

    def __call__(self, row: dict) -> None:
        if self.as_json:
            _print(json.dumps(row | self.settings))
        elif not self.quiet:
            _print(format_row(row))


def _print(text: str | None = None, file: TextIO | None = None, flush: bool = False) -> None:
    """A line to standard output, or to another file. Raises: PneumoniaError when the disk is full."""
    try:
        print(*([] if text is None else [text]), end="" if text is None else "\n", file=file, flush=flush)
    except BrokenPipeError:
        raise
    except OSError as error:
        _leave_standard_output()
        reason = f"cannot be written ({error.strerror or error}); {name_remedy(error)}"
        raise PneumoniaError(f"standard output: {reason}") from error


def _leave_standard_output() -> None:
    """What it still holds goes nowhere, so that Python does not try once more at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def format_row(row: dict) -> str:
    """One line for people; control characters in a file name are escaped."""
    name = printable(row["path"])
    if row["error"]:
        return ROW.format("-", "-", "-", f"{name}  (cannot be read)")
    notes = explain(row["refer"], row["warnings"])
    why = f"  ({'; '.join(notes)})" if notes else ""
    return ROW.format(f"{row['probability']:.4f}", row["call"], "refer" if row["refer"] else "", name + why)


def printable(text: str) -> str:
    """The text in one line of some length; control characters, and what the terminal cannot show, are escaped."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in shorten(text, LONGEST)
    )
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _make_row(answer: Answer, folder: Path | None) -> dict:
    """The row of an answer; its overlay is written into `folder`, if there is one."""
    heatmap = None
    if folder and not answer.error:
        try:
            overlay = answer.overlay()
        except PneumoniaError as error:  # the file was there a moment ago
            answer = Answer(answer.path, error=str(error))
        else:
            heatmap = str(_save_overlay(overlay, folder / name_heatmap(answer.path)))
    return answer.row() | {"heatmap": heatmap}


def _save_overlay(overlay: Image.Image, target: Path) -> Path:
    partial = target.with_name(f".part-{os.getpid()}-{target.name}")  # another process may write the same
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        overlay.save(partial, format="PNG")
        os.replace(partial, target)
    except OSError as error:
        remedy = name_remedy(error)
        raise PneumoniaError(f"{target}: cannot be written ({error.strerror or error}); {remedy}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return target


def name_heatmap(path: str) -> str:
    """A file name for the overlay of this path only: files of the same name may lie in several folders."""
    stem = "".join(char if char.isalnum() or char in "-_." else "_" for char in Path(path).stem[:60]).lstrip("-.")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    return f"{stem or 'radiograph'}-{digest}.png"
