"""answers.csv: written as a stream, and resumed after an interruption without a row too many or too few."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..config import PneumoniaError
from .reader import Reader

# The same in every row of a file; threshold and referral band are at its prevalence, as the probabilities are.
SETTINGS = (
    *("operating_point", "threshold", "refer_from", "refer_to", "prevalence"),
    *("original_size", "model", "model_hash"),
)
# Of `Answer.row`, and where the overlay was written to; empty for a file that could not be read, but for `error`.
COLUMNS = ("path", "probability", "call", "refer", "warnings", "atypicality", "heatmap", "error", *SETTINGS)

FAILED, ANSWERED, WITH_HEATMAP = 1, 2, 3  # how complete a row is


def describe_settings(reader: Reader) -> dict[str, str | float]:
    """What every answer depends on besides its file."""
    low, high = reader.referral
    return {
        "operating_point": reader.operating_point,
        "threshold": reader.rebase(reader.threshold),
        "refer_from": reader.rebase(low),
        "refer_to": reader.rebase(high),
        "prevalence": reader.prevalence,
        "original_size": "x".join(map(str, reader.original_size or ())),  # of square files; empty: not given
        "model": reader.model.name,
        "model_hash": reader.model.hash,
    }


def _encode(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


HEADER = _encode([COLUMNS])


def encode_rows(rows: Iterable[dict], settings: dict) -> bytes:
    """Lines of the file for rows (`Answer.row`, and `heatmap` where there is one), without the header."""
    return _encode([_to_text((row | settings).get(column)) for column in COLUMNS] for row in rows)


class AnswerTable:
    """An open CSV file. Rows are written whole and in order, in UTF-8; odd bytes of file names are kept."""

    def __init__(self, path: Path, settings: dict, resume: bool, heatmaps: bool = False):
        """Start a new file, or with `resume` continue one that the same model and settings started.

        Files that could not be read are tried again, and so are those without a heatmap where `heatmaps` are wanted. An
        old row stays until there is a more complete one. `done` holds the paths that need no answer.
        Raises: PneumoniaError when there is a file and `resume` is off, when it was made with other settings, or when
        it cannot be written.
        """
        self.path, self.settings, self.resumed, self.done = path, settings, False, set()
        self.wanted = WITH_HEATMAP if heatmaps else ANSWERED
        try:
            if path.exists() and path.stat().st_size > 0:
                if not resume:
                    raise PneumoniaError(f"{path}: exists; add --resume to continue it, or remove it")
                self._continue()
            if not self.resumed:
                path.write_bytes(HEADER)
            self.file = path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error

    def _continue(self) -> None:
        """Check that the file is one of ours; remove what an interruption left of its last row."""
        with self.path.open("rb") as file:
            head = file.read(len(HEADER))
        if not HEADER.startswith(head):
            raise PneumoniaError(f"{self.path}: not a file of answers; choose another name")
        if head == HEADER:
            os.truncate(self.path, find_end(self.path))
            if any(row[key] != str(self.settings[key]) for row in self._rows() for key in SETTINGS):
                raise PneumoniaError(f"{self.path}: made with another model or settings; choose another name")
            self.resumed = True
            self.done = {path for path, (found, _) in self._keep_best().items() if found >= self.wanted}

    def _rows(self) -> Iterator[dict[str, str]]:
        with self.path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield from csv.DictReader(file)

    def _keep_best(self) -> dict[str, tuple[int, int]]:
        """Keep the most complete row of every path, of equals the last. Returns: path -> (how complete, row number)."""
        best: dict[str, tuple[int, int]] = {}
        for number, row in enumerate(self._rows()):
            best[row["path"]] = max(best.get(row["path"], (0, 0)), (_rate(row), number))
        partial = self.path.with_name(f".part-{self.path.name}")
        try:
            with partial.open("wb") as kept:
                kept.write(HEADER)
                for number, row in enumerate(self._rows()):
                    if best[row["path"]][1] == number:
                        kept.write(_encode([row.values()]))
            os.replace(partial, self.path)
        finally:
            partial.unlink(missing_ok=True)
        return best

    def write(self, rows: Iterable[dict]) -> None:
        """Append rows, as of `encode_rows`. Raises: PneumoniaError when the disk is full; --resume then continues
        after the last whole row."""
        remaining = memoryview(encode_rows(rows, self.settings))
        try:
            while remaining:  # an unbuffered write may take only a part
                remaining = remaining[self.file.write(remaining) :]
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> PneumoniaError:
        remedy = name_remedy(error, then=", then run with --resume")
        return PneumoniaError(f"{self.path}: cannot be written ({error.strerror or error}); {remedy}")

    def close(self) -> None:
        """Leave one row for every path, and no file without rows."""
        self.file.close()
        try:
            if self.resumed:
                self._keep_best()
            if self.path.is_file() and self.path.stat().st_size == len(HEADER):
                self.path.unlink()
        except OSError as error:
            raise self._unwritable(error) from error


def name_remedy(error: OSError, then: str = "") -> str:
    """What to do about a place that cannot be written to; `then` is added where a part of the work is done."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"free the disk{then}"
    return "make that folder first" if error.errno == errno.ENOENT else "choose another place"


def find_end(path: Path) -> int:
    """Where the last whole row ends, in bytes: at a line break outside quotes (a file name may contain line breaks)."""
    end = position = quotes = 0
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            quotes += line.count(b'"')
            if quotes % 2 == 0 and line.endswith(b"\n"):
                end = position
    return end


def _rate(row: dict[str, str]) -> int:
    if row["error"]:
        return FAILED
    return WITH_HEATMAP if row["heatmap"] else ANSWERED


def _to_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "; ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
