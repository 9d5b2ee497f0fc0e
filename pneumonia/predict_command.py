"""`python -m pneumonia predict`: radiographs in; a table, JSON lines, a CSV file and heatmaps out."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from .answer_table import AnswerTable, describe_settings
from .answers import Answer, Reader
from .config import PneumoniaError
from .final_model import FinalModel
from .inputs import count, expand

ALL_READ, SOME_UNREADABLE, NOTHING_USABLE, INTERRUPTED = 0, 1, 2, 130
NOT_FOR_CLINICAL_USE = "Not for clinical use."
ROW = "{:>11}  {:<9}  {:<5}  {}"


def predict(options: argparse.Namespace) -> int:
    """Answer every radiograph that `options.paths` names; returns the exit status.

    Raises: PneumoniaError when an argument is wrong, the model cannot be loaded, or an output cannot be written.
    """
    if options.batch_size < 1 or options.workers < 1:
        raise PneumoniaError("--batch-size and --workers: must be 1 or more")
    if options.resume and options.csv is None:
        raise PneumoniaError("--resume: continues a CSV file; name it with --csv")
    reader = Reader(FinalModel(), options.operating_point, options.prevalence)
    table = AnswerTable(options.csv, describe_settings(reader), options.resume) if options.csv else None
    try:
        return _answer_all(options, reader, table)
    except KeyboardInterrupt:
        hint = "; add --resume to continue" if options.csv else ""
        print(f"pneumonia: interrupted{hint}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ALL_READ
    finally:
        if table:
            table.close()


def _answer_all(options: argparse.Namespace, reader: Reader, table: AnswerTable | None) -> int:
    done = table.done if table else set()
    paths = (path for path in expand(options.paths, sys.stdin) if str(path) not in done)
    total = count(options.paths) if sys.stderr.isatty() else None
    show = _Printer(options, reader, quiet=table is not None)
    answers = reader.stream(paths, options.batch_size, options.workers)
    bar = tqdm(answers, "reading", total and total - len(done), unit="img", disable=None, delay=1, smoothing=0.05)
    read, failed = 0, table.failed if table else 0
    for batch in _batches(iter(bar), options.batch_size):
        if options.heatmap:
            batch = [_add_heatmap(answer, reader, options.heatmap) for answer in batch]
        for answer in batch:
            read, failed = read + (answer.error is None), failed + (answer.error is not None)
            if answer.error:
                tqdm.write(f"pneumonia: {printable(answer.error)}", file=sys.stderr)
            show(answer)
        if table:
            table.write(batch)
    sys.stdout.flush()
    return _status(read, failed, len(done) - (table.failed if table else 0))


def _status(read: int, failed: int, done: int) -> int:
    if read + failed + done == 0:
        raise PneumoniaError("no radiographs found; name image files, or a folder that holds some")
    if failed:
        return SOME_UNREADABLE if read + done else NOTHING_USABLE
    return ALL_READ


def _batches(answers: Iterator[Answer], size: int) -> Iterator[list[Answer]]:
    while batch := list(itertools.islice(answers, size)):
        yield batch


class _Printer:
    """Writes answers to standard output: JSON lines, or a table for people."""

    def __init__(self, options: argparse.Namespace, reader: Reader, quiet: bool):
        self.as_json, self.quiet, self.settings = options.json, quiet and not options.json, describe_settings(reader)
        if not self.as_json and not self.quiet:
            name, digest = (self.settings[key] for key in ("model", "model_hash"))
            print(f"{name} ({digest}), {reader.point}: PNEUMONIA from {reader.threshold:.3f}. {NOT_FOR_CLINICAL_USE}")
            print(ROW.format("probability", "call", "refer", "file"))

    def __call__(self, answer: Answer) -> None:
        if self.as_json:
            print(json.dumps(asdict(answer) | self.settings))
        elif not self.quiet:
            print(format_row(answer))


def format_row(answer: Answer) -> str:
    """One line for people; control characters in a file name cannot break it, or play with the terminal."""
    name = printable(answer.path)
    if answer.error:
        return ROW.format("-", "-", "-", f"{name}  (cannot be read)")
    notes = f"  ({'; '.join(answer.warnings)})" if answer.warnings else ""
    refer = "refer" if answer.refer else ""
    return ROW.format(f"{answer.probability:.4f}", answer.call, refer, name + notes)


def printable(text: str) -> str:
    """The text in one line; what no terminal should get is escaped."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _add_heatmap(answer: Answer, reader: Reader, folder: Path) -> Answer:
    """Write the overlay of a readable radiograph into `folder`; returns the answer with its path."""
    if answer.error:
        return answer
    try:
        overlay = reader.read(Path(answer.path)).overlay()
    except PneumoniaError as error:  # it was there a moment ago
        return Answer(answer.path, error=str(error))
    target = folder / name_heatmap(answer.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".part-{target.name}")
        overlay.save(partial, format="PNG")
        os.replace(partial, target)
    except OSError as error:
        raise PneumoniaError(f"{target}: cannot be written ({error.strerror or error}); free the disk") from error
    return replace(answer, heatmap=str(target))


def name_heatmap(path: str) -> str:
    """The file name that belongs to a path, and to no other: the same name may lie in several folders."""
    stem = "".join(char if char.isalnum() or char in "-_." else "_" for char in Path(path).stem[:60]).lstrip("-.")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    return f"{stem or 'radiograph'}-{digest}.png"
