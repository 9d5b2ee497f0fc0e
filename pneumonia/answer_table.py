"""answers.csv: written as a stream, and continued after a kill without a row too many or too few."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from .answers import Answer, Reader
from .config import PneumoniaError

SETTINGS = ("operating_point", "threshold", "prevalence", "model", "model_hash")  # the same in every row of a file
COLUMNS = ("path", "probability", "call", "refer", "warnings", "atypicality", "heatmap", "error", *SETTINGS)


def describe_settings(reader: Reader) -> dict[str, str | float]:
    """What every answer hangs on besides its file."""
    return {
        "operating_point": reader.point,
        "threshold": reader.threshold,
        "prevalence": reader.prevalence,
        "model": reader.model.name,
        "model_hash": reader.model.hash,
    }


class AnswerTable:
    """An open CSV file. Rows are written whole and in order; text is UTF-8, odd bytes of file names are kept."""

    def __init__(self, path: Path, settings: dict, resume: bool):
        """Begin a new file, or with `resume` continue one that the same model and settings began.

        Raises: PneumoniaError when there is a file and `resume` is off, when it was made with other settings, or when
        it cannot be written.
        """
        self.path, self.settings, self.done = path, settings, set()
        self.failed = 0  # rows with an error, of an earlier run
        try:
            if path.exists() and path.stat().st_size > 0:
                if not resume:
                    raise PneumoniaError(f"{path}: exists; add --resume to continue it, or remove it")
                self._continue()
            else:
                with path.open("wb") as file:
                    file.write(_encode([COLUMNS]))
            self.file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def _continue(self) -> None:
        """Cut off what a kill left of a last row, and note which files have theirs."""
        os.truncate(self.path, find_end(self.path))
        with self.path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            if tuple(rows.fieldnames or COLUMNS) != COLUMNS:
                raise PneumoniaError(f"{self.path}: not a file of answers; choose another name")
            for row in rows:
                if any(row[key] != str(self.settings[key]) for key in SETTINGS):
                    raise PneumoniaError(f"{self.path}: begun with another model or settings; choose another name")
                self.done.add(row["path"])
                self.failed += bool(row["error"])
        if self.path.stat().st_size == 0:  # killed within the header
            self.path.write_bytes(_encode([COLUMNS]))

    def write(self, answers: Iterable[Answer]) -> None:
        """Append rows. Raises: PneumoniaError when the disk is full; --resume then goes on behind the last row."""
        rows = [[_to_text(self._value(answer, column)) for column in COLUMNS] for answer in answers]
        remaining = memoryview(_encode(rows))
        try:
            while remaining:  # a write without a buffer may take less than it is given
                remaining = remaining[self.file.write(remaining) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _value(self, answer: Answer, column: str) -> object:
        return self.settings[column] if column in SETTINGS else getattr(answer, column)

    def _unwritable(self, error: OSError) -> PneumoniaError:
        return PneumoniaError(f"{self.path}: cannot be written ({error.strerror or error}); then run with --resume")

    def close(self) -> None:
        self.file.close()


def find_end(path: Path) -> int:
    """Where the last whole row ends, in bytes: at a line break outside quotes (a file name may hold line breaks)."""
    end = position = quotes = 0
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\n"):
                end = position
    return end


def _encode(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "; ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
